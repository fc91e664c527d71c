"What crosses notebooks: metadata, sync, links, and what is not imported."
import ast, builtins, configparser, functools, importlib, json, os, re, subprocess, symtable, sys, tomllib
from pathlib import Path
import pytest, yaml
from markdown_it import MarkdownIt
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NBS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
ids = lambda p: str(p.relative_to(ROOT/'nbs'))

def python(code, **env):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd='/',
                          env={**os.environ, **env})

@pytest.fixture(autouse=True)
def toml_read_once(monkeypatch):
    "nbdev reads pyproject.toml for every cell of a notebook: the same text need not be parsed again."
    monkeypatch.setattr(tomllib, 'loads', functools.cache(tomllib.loads))

def test_pyproject_says_what_settings_say():
    ini = configparser.ConfigParser(delimiters=['='], interpolation=None)
    ini.read(ROOT/'settings.ini')
    ini, toml = ini['DEFAULT'], tomllib.loads((ROOT/'pyproject.toml').read_text())
    init = (ROOT/'cytokit/__init__.py').read_text()
    assert toml['project']['name'] == ini['name'] and toml['project']['description'] == ini['description']
    assert toml['project']['urls'] == {'Repository': ini['git_url'], 'Documentation': ini['doc_url']}
    assert f'__version__ = "{ini["version"]}"' in init and ast.get_docstring(ast.parse(init)) == ini['description']
    assert 'version' in toml['project']['dynamic'] and 'dependencies' in toml['project']['dynamic']

def test_lock_file_installs_on_every_python_3_11():
    "A pin that asks for a later 3.11 than Debian's stops `make` at once there, and nowhere else."
    from importlib.metadata import metadata
    from packaging.specifiers import SpecifierSet
    # not those of one system only
    names = re.findall(r'^([\w.-]+)==[^;\s]+$', (ROOT/'requirements.lock').read_text(), re.M)
    assert len(names) > 100
    config = {n: metadata(n)['Requires-Python'] for n in names}
    assert {n: r for n, r in config.items() if r and '3.11.0' not in SpecifierSet(r)} == {}

def test_quarto_link_and_pages():
    link = ROOT/'nbs/_quarto.yml'
    assert link.is_symlink() and link.resolve() == ROOT/'_quarto.yml'
    named = re.findall(r'[\w/]+\.ipynb', link.read_text())
    there = {str(p.relative_to(ROOT/'nbs')) for p in NBS}
    assert set(named) == there - {'index.ipynb'}, 'a notebook that the sidebar does not name is on no menu'

def test_card_of_the_site():
    "One picture for every page, at the size that other sites show; without it they would take any figure, or none."
    site = yaml.safe_load((ROOT/'_quarto.yml').read_text())
    card = ROOT/'nbs'/site['image']
    assert site['image'] in site['project']['resources'] and site['image-alt']
    assert card.stat().st_size < 100_000
    with Image.open(card) as picture: assert picture.size == (1200, 630)

MAKE_TARGETS = set(re.findall(r'^([a-z]+):', (ROOT/'Makefile').read_text(), re.M))
FOR_GITHUB = [*sorted((ROOT/'.github').rglob('*.yml')), ROOT/'.pre-commit-config.yaml']

def steps(workflow):
    "The steps of all jobs of a workflow."
    return [step for job in workflow.get('jobs', {}).values() for step in job['steps']]

def commands(file):
    "The lines that a workflow, or a hook, runs."
    told = yaml.safe_load(file.read_text())
    hooks = [hook['entry'] for repo in told.get('repos', []) for hook in repo['hooks']]
    return hooks + [line for step in steps(told) for line in step.get('run', '').splitlines()]

def missing(command):
    "What a command names and the repository or its environment lacks; the empty text where all is there."
    first, *rest = command.split()
    if first == 'make': return ' '.join(target for target in rest if target not in MAKE_TARGETS)
    if first.startswith('.venv/bin/'): return '' if Path(sys.executable).with_name(Path(first).name).exists() else first
    if '/' in first: return '' if os.access(ROOT/first, os.X_OK) else first
    files = [word for word in rest if word.endswith(('.ini', '.txt', '.toml', '.lock'))]
    return ' '.join(file for file in files if not (ROOT/file).exists())

def test_the_oldest_python_can_read_every_file():
    "What is newer in the language than Python 3.10 compiles here, and is a SyntaxError there."
    oldest = 'py' + re.search(r'^min_python = (.*)$', (ROOT/'settings.ini').read_text(), re.M)[1].replace('.', '')
    ruff = [Path(sys.executable).with_name('ruff'), 'check', '--isolated', '--select', 'E9', '--target-version', oldest]
    done = subprocess.run([*ruff, 'cytokit', 'nbs', 'tests', 'setup.py', '.ci'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    newer = subprocess.run([*ruff, '-'], input='x[*y]', capture_output=True, text=True)
    assert newer.returncode == 1 and 'Python 3.10' in newer.stdout

def test_modules_import_only_what_they_use():
    "What only the tests of a page need is imported in their cell."
    ruff = [Path(sys.executable).with_name('ruff'), 'check', '--isolated', '--select', 'F401']
    done = subprocess.run([*ruff, '--exclude', '__init__.py', 'cytokit'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

def test_missing_targets_and_files_are_told():
    assert missing('make setup') == missing('.ci/run') == missing('.venv/bin/ruff check') == ''
    assert missing('make nonsense') == 'nonsense' and missing('.ci/walk') == '.ci/walk'
    assert missing('.venv/bin/no-command') == '.venv/bin/no-command'
    assert missing('grep x other.ini') == 'other.ini'

@pytest.mark.parametrize('file', FOR_GITHUB, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_workflows_and_hooks_call_exists(file):
    "A workflow fails on GitHub only, after the push."
    assert {command: missing(command) for command in commands(file) if missing(command)} == {}
    told = yaml.safe_load(file.read_text())
    for step in steps(told):
        for key, name in step.get('with', {}).items():
            if key == 'cache-dependency-path': assert (ROOT/name).is_file()
    if 'workflows' in file.parts:
        assert told['permissions'] == {'contents': 'read'}, 'a job that needs more asks for it itself'
        for step in steps(told): assert re.search(r'@(v|release/v)\d+$', step.get('uses', '@v1')), step
    else: assert file.parent.name != 'ISSUE_TEMPLATE' or file.stem == 'config' or told['body']

def cpu_only(file):
    "The address of PyTorch's builds for the CPU, as the file gives it; None where it gives none."
    found = re.search(r'https://download\.pytorch\.org/\S+', (ROOT/file).read_text(encoding='utf-8'))
    return found and found[0]

def test_no_place_without_a_gpu_downloads_its_builds():
    "Binder, conda, the weekly run, the trial of a release, and `make setup`."
    places = ['.binder/requirements.txt', 'environment.yml', '.github/workflows/newest.yml',
              '.github/workflows/release.yml']
    assert {place: cpu_only(place) for place in places} == dict.fromkeys(places, 'https://download.pytorch.org/whl/cpu')
    assert "'https://download.pytorch.org/whl/cpu'" in (ROOT/'.ci/install_lock.py').read_text(encoding='utf-8')
    for workflow in ('docs', 'test'):
        lines = ' '.join(commands(ROOT/f'.github/workflows/{workflow}.yml'))
        assert re.search(r'make setup|\.ci/run', lines) and 'pip install' not in lines, workflow

def test_environments_of_others():
    "conda, Binder and the container: they parse, and what they name is there."
    conda = yaml.safe_load((ROOT/'environment.yml').read_text(encoding='utf-8'))
    asked, pip = [o for o in conda['dependencies'] if isinstance(o, str)], conda['dependencies'][-1]['pip']
    assert conda['channels'] == ['conda-forge'] and asked[1] == 'pip' and asked[0].startswith('python=3.')
    binder = (ROOT/'.binder/requirements.txt').read_text(encoding='utf-8').splitlines()
    assert pip == [line for line in binder if not line.startswith('#')]
    assert re.fullmatch(r'python-3\.1[0-3]\n', (ROOT/'.binder/runtime.txt').read_text())
    post = ROOT/'.binder/postBuild'
    assert os.access(post, os.X_OK) and 'cytokit lessons lessons' in post.read_text()
    container = json.loads((ROOT/'.devcontainer/devcontainer.json').read_text(encoding='utf-8'))
    assert missing(container['postCreateCommand']) == ''

WINGS = ['', 'data', 'quality', 'metrics', 'training', 'segmentation', 'evaluation', 'sharing', 'teaching',
         'teaching/questions', 'cli']

def place(nb):
    "Where a notebook stands in the order of imports: the wing, then its number."
    *wing, name = nb.relative_to(ROOT/'nbs').parts
    return WINGS.index('/'.join(wing)), name

def imported(module, text):
    "Modules and names that a module takes from cytokit, wherever in it: `quality.masks`, `quality.masks.read_mask`."
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ImportFrom): continue
        above = ['cytokit', *module.split('.')][:-node.level] if node.level else []
        whole = '.'.join([*above, *(node.module or '').split('.')]).strip('.')
        if not f'{whole}.'.startswith('cytokit.'): continue
        for name in node.names: yield whole.removeprefix('cytokit').strip('.'), name.name

def verbs():
    "The names at the top of the package, as its stub gives them, and the module that each comes from."
    stub = ast.parse((ROOT/'cytokit/__init__.pyi').read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {name.asname: node.module for node in imports for name in node.names}

def test_imports_run_one_way():
    """A wing imports from the wings above it only, and a notebook from lower numbers of its own.
    The names at the top are for people: through them a module could reach any other."""
    exporting = [nb for nb in NBS if '#| default_exp' in nb.read_text()]
    of = {'.'.join([*nb.relative_to(ROOT/'nbs').parts[:-1], nb.stem.partition('_')[2]]): nb for nb in exporting}
    assert len(of) > 30
    against = []
    for module, nb in of.items():
        for home, name in imported(module, (ROOT/'cytokit'/f'{module.replace(".", "/")}.py').read_text()):
            taken = [of[m] for m in (home, f'{home}.{name}'.strip('.')) if m in of]
            from_the_top = home == '' and name in verbs()
            if from_the_top or any(place(o) >= place(nb) for o in taken): against.append(f'{module} takes {name} from {home}')
    assert against == []

def test_private_names_stay_in_their_module():
    taken = []
    for path in sorted((ROOT/'cytokit').rglob('*.py')):
        module = '.'.join(path.relative_to(ROOT/'cytokit').with_suffix('').parts)
        for home, name in imported(module, path.read_text()):
            if name.startswith('_') and name != '__version__': taken.append(f'{module} takes {name} from {home}')
    assert taken == []

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_exported_module_is_in_sync(nb, tmp_path):
    "Nobody edits cytokit/ by hand, and nobody forgets to export."
    from nbdev.export import nb_export
    nb_export(nb, lib_path=tmp_path/'cytokit')
    text = lambda p: re.sub(r'\S*nbs/', 'nbs/', p.read_text())  # where a page lies depends on the folder exported to
    for made in tmp_path.rglob('*.py'): assert text(made) == text(ROOT/made.relative_to(tmp_path))

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_notebook_is_clean_and_small(nb, tmp_path):
    from nbdev.clean import nbdev_clean
    copy = tmp_path/nb.name
    copy.write_text(nb.read_text())
    (tmp_path/'pyproject.toml').write_text((ROOT/'pyproject.toml').read_text())  # says which metadata is kept
    nbdev_clean(str(copy))
    assert json.loads(copy.read_text()) == json.loads(nb.read_text()), 'run nbdev-clean'
    assert nb.stat().st_size < (1_000_000 if 'lessons' in nb.parts else 300_000)

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_notebook_begins_with_title_and_promise(nb):
    "What the docs page is called, and what it is about."
    first = next(''.join(c['source']) for c in json.loads(nb.read_text())['cells'] if c['cell_type'] == 'markdown')
    assert re.match(r'# \w.+\n\n> .+', first)

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_links_lead_somewhere(nb):
    for c in json.loads(nb.read_text())['cells']:
        if c['cell_type'] != 'markdown': continue
        for target in re.findall(r'\]\((?!https?:|#|attachment:)([^)#\s]+)', ''.join(c['source'])):
            assert (nb.parent/target).exists(), target

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_every_figure_has_alternative_text(nb):
    for c in json.loads(nb.read_text())['cells']:
        kinds = [kind for o in c.get('outputs', []) for kind in o.get('data', {})]
        if any(kind.startswith('image/') for kind in kinds):
            assert re.search(r'#\| fig-alt: .{15,}', ''.join(c['source'])), ''.join(c['source'])[:200]

LIBRARY = [nb for nb in NBS if '#| default_exp' in nb.read_text() and 'questions' not in nb.parts]
EXPORTED, HIDDEN = re.compile(r'^#\s*\| export', re.M), re.compile(r'^#\s*\| hide', re.M)
REACH = 3  # Cells of examples after a definition

def code_cells(nb): return [c for c in json.loads(nb.read_text())['cells'] if c['cell_type'] == 'code']

def public_names(nb):
    "`__all__` of the module that a page exports."
    *wing, name = nb.relative_to(ROOT/'nbs').with_suffix('.py').parts
    tree = ast.parse((ROOT/'cytokit'/Path(*wing, name.partition('_')[2])).read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return next(ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == '__all__')

def definitions(sources):
    "Functions and classes of the cells that export, each with the number of its cell."
    for i, source in enumerate(sources):
        if not EXPORTED.search(source): continue
        for node in ast.parse(source).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)): yield i, node

def examples_after(sources, i):
    "The next cells of code that export nothing. A hidden cell is read, and is none of the three."
    text, count = '', 0
    for source in sources[i + 1:]:
        if EXPORTED.search(source): continue
        text += source + '\n'
        count += not HIDDEN.search(source)
        if count == REACH: break
    return text

def annotated(node):
    "The class that a function is a method of, as `self:Class` says it, and the names in what it returns."
    if isinstance(node, ast.ClassDef): return '', set()
    first = node.args.args[0].annotation if node.args.args else None
    owner = ast.unparse(first).strip("'") if first is not None and node.args.args[0].arg == 'self' else ''
    return owner, set(re.findall(r'\w+', ast.unparse(node.returns))) if node.returns is not None else set()

def without_example(nb, public):
    """Public functions and classes that no example within reach names. A class may be shown after its last method, and is
    shown where a function that returns it is; a command is named by its words."""
    sources = [''.join(c['source']) for c in code_cells(nb)]
    defined = list(definitions(sources))
    last = {annotated(node)[0]: i for i, node in defined}
    def is_named(name, i):
        words = r'[\W_]+'.join(map(re.escape, name.split('_')))
        text = examples_after(sources, i) + examples_after(sources, last.get(name, i))
        return bool(re.search(rf'\b{words}\b', text))
    shown = {node.name for i, node in defined if is_named(node.name, i)}
    for i, node in defined:
        if node.name in shown: shown |= annotated(node)[1]
    return {node.name for i, node in defined if node.name in public} - shown

# Name: why nothing within reach shows it
SHOWN_ELSEWHERE = {
    'probe': 'needs what is defined two sections below, and is run there',
    'set_limits': 'limits the process that calls it; `run_job` shows it in one of its own',
    'attempt_all': 'forks the process that calls it; `run_job` shows it in one of its own',
    'work': 'is the inside of a worker, which `run_job` starts',
    'serve': 'is the inside of a worker, which `run_job` starts',
    'write_autograder': 'takes half a minute; tests/teaching/test_editions.py runs it',
    'run_autograder': 'takes half a minute; tests/teaching/test_editions.py runs it',
    'prove_autograder': 'takes half a minute; tests/teaching/test_editions.py runs it',
    'show_run': 'prints a finished run, as the commands of the next pages do',
    'patient_of_masks': 'needs a UNet; tests/evaluation runs it through `cytokit doctor`',
}

def test_an_example_is_found_where_there_is_one(tmp_path):
    page = tmp_path/'page.ipynb'
    def missing(*sources):
        page.write_text(json.dumps(dict(cells=[dict(cell_type='code', source=[source]) for source in sources])))
        return without_example(page, ['Found', 'look_up'])
    two = "#| export\nclass Found: pass\n\ndef look_up()->'Found': return Found()"
    method = '#| export\n@patch\ndef more(self:Found): pass'
    assert missing(two, '1', '2', '3', 'look_up()') == {'Found', 'look_up'}
    assert missing(two, '#| hide\n1', '1', '2', 'look_up()') == set()
    assert missing(two, "run('look', 'up')") == set()
    assert missing(two, 'Found()') == {'look_up'}
    assert missing(two, '1', '2', '3', method, 'Found()') == {'look_up'}

@pytest.mark.parametrize('nb', LIBRARY, ids=ids)
def test_every_public_name_has_an_example_within_reach(nb):
    missing = without_example(nb, public_names(nb)) - set(SHOWN_ELSEWHERE)
    assert missing == set(), 'show it, or test it, within three cells of its definition'

def test_names_shown_elsewhere_are_still_needed():
    assert set(SHOWN_ELSEWHERE) <= set().union(*(without_example(nb, public_names(nb)) for nb in LIBRARY))

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_no_page_has_two_sections_of_one_name(nb):
    "Their anchors would be one, and a merge of two branches may leave both."
    prose = [re.sub(r'```.*?```', '', text, flags=re.S) for text in cells(nb, 'markdown')]
    sections = [line for text in prose for line in text.splitlines() if line.startswith('##')]
    assert sorted(sections) == sorted(set(sections))

def begun_in_a_paragraph(text):
    "Lines of Markdown at which a list, heading or quote begins right below other text: in Quarto it would go on there."
    lines = text.splitlines()
    kinds = ('bullet_list_open', 'ordered_list_open', 'heading_open', 'blockquote_open')
    begun = [t.map[0] for t in MarkdownIt().parse(text) if t.type in kinds and t.level == 0]
    return [lines[n] for n in begun if n and lines[n - 1].strip()]

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_lists_begin_after_an_empty_line(nb):
    "JupyterLab does without it, pandoc, which Quarto calls, does not."
    assert begun_in_a_paragraph('Ask\n- why?\n\n- how?') == ['- why?']
    printed = [o['data'] for c in code_cells(nb) for o in c['outputs'] if 'text/markdown' in o.get('data', {})]
    texts = cells(nb, 'markdown') + [''.join(data['text/markdown']) for data in printed]
    assert [line for text in texts for line in begun_in_a_paragraph(text)] == []

@pytest.mark.parametrize('nb', [nb for nb in NBS if '#| default_exp' in nb.read_text()], ids=ids)
def test_every_library_page_has_a_figure(nb):
    "One that argues: what holds, or goes wrong without this code, at a glance."
    seen = [kind for c in code_cells(nb) if not HIDDEN.search(''.join(c['source']))
            for o in c['outputs'] for kind in o.get('data', {})]
    assert any(kind.startswith('image/') for kind in seen), 'draw one, and run the page with nbdev-test --save'

@pytest.mark.parametrize('nb', [p for p in NBS if 'lessons' in p.parts], ids=ids)
def test_set_up_and_drawing_are_folded_in_a_lesson(nb):
    "In JupyterLab and on the docs site alike; its first line, which JupyterLab shows, says what lies there."
    folded = 0
    for c in json.loads(nb.read_text())['cells']:
        source = ''.join(c['source'])
        hidden = c['metadata'].get('jupyter', {}).get('source_hidden', False)
        assert hidden == ('#| code-fold: true' in source), source[:200]
        assert hidden == source.startswith('#| code-summary: '), source[:200]
        if c['cell_type'] == 'code' and ('plt.subplots(' in source or 'import matplotlib' in source):
            assert hidden, source[:200]
        folded += hidden
    assert folded > 3

UNSHOWN = re.compile(r'^#\| *(hide|echo: false)', re.M)

def without_magic(source): return re.sub(r'(?m)^(\s*)[!%](?:.*\\\n)*.*', r'\1pass', source)

def used_but_not_shown(nb):
    "Names that the visible cells of a page need and none of them makes or imports."
    sources = [''.join(c['source']) for c in code_cells(nb)]
    shown = '\n'.join(without_magic(source) for source in sources if not UNSHOWN.search(source))
    top = symtable.symtable(shown, nb.name, 'exec')
    known = {*dir(builtins), 'get_ipython', 'display'}
    for node in ast.walk(ast.parse(shown)):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == '*':
            known.update(importlib.import_module(node.module).__all__)
    known.update(name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported())
    used, tables = set(), [top]
    for table in tables:
        tables += table.get_children()
        used.update(name.get_name() for name in table.get_symbols() if table is top or name.is_global())
    return used - known

def test_a_name_that_no_cell_shows_is_found(tmp_path):
    page = tmp_path/'page.ipynb'
    sources = ['#| hide\nimport os', 'import sys\n!ls {os.sep}', 'def f(x): return os.sep + x', 'f(sys.path[0])']
    page.write_text(json.dumps(dict(cells=[dict(cell_type='code', source=[source]) for source in sources])))
    assert used_but_not_shown(page) == {'os'}

@pytest.mark.parametrize('nb', [p for p in NBS if p.parent.name in ('lessons', 'howto', 'handbook')], ids=ids)
def test_code_of_a_page_can_be_copied_from_it(nb):
    "A reader of the site does not see hidden cells; what they import belongs into a folded cell."
    assert used_but_not_shown(nb) == set()

WIDTH = 84  # columns in a box of the site; a longer line has to be scrolled
WITH_A_PICTURE = {'text/html', 'text/markdown', 'image/png', 'image/jpeg', 'application/vnd.jupyter.widget-view+json'}

def printed(output):
    "The lines that an output shows in a box; none where it shows a table or a figure in place of its text."
    data = output.get('data', {})
    text = output.get('text') or ('' if WITH_A_PICTURE & set(data) else data.get('text/plain', ''))
    return ''.join(text).splitlines()

def too_long(nb):
    "Cell (counted from 0), `code` or `output`, and text, of each line of a notebook that does not fit the box."
    for number, cell in enumerate(json.loads(nb.read_text())['cells']):
        hidden = ''.join(cell['source']).startswith('#| hide')  # stands in no box
        if cell['cell_type'] != 'code' or hidden: continue
        code = [line for line in ''.join(cell['source']).splitlines() if not line.startswith('#|')]
        output = [line for o in cell['outputs'] for line in printed(o)]
        for kind, lines in (('code', code), ('output', output)):
            for line in lines:
                if len(line) > WIDTH: yield number, kind, line

@pytest.mark.parametrize('nb', [p for p in NBS if p.parent.name in ('lessons', 'howto', 'handbook')], ids=ids)
def test_lines_fit_the_box_of_the_site(nb):
    found = [f'cell {number}, {kind}, {len(line)} columns: {line}' for number, kind, line in too_long(nb)]
    assert not found, '\n'.join(found)

def test_readme_is_the_index():
    from cytokit_readme import readme
    assert (ROOT/'README.md').read_text() == readme(), 'run: python tests/cytokit_readme.py'

def cells(path, kind):
    "Sources of the cells of one kind in a notebook."
    return [''.join(c['source'] or '') for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]

def test_docs_are_made_from_the_notebooks(pages):
    assert {p.relative_to(pages) for p in pages.rglob('*.ipynb')} == {p.relative_to(ROOT/'nbs') for p in NBS}
    assert (pages/'card.png').exists()

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_docs_keep_every_word(nb, pages):
    "The cell of title and description becomes the page's front matter, and what else stands in it is lost."
    title, *prose = cells(nb, 'markdown')
    prose += title.split('\n\n')[2:]
    page = '\n'.join(cells(pages/nb.relative_to(ROOT/'nbs'), 'markdown'))
    page = re.sub(r'\[(`[^`]+`)\]\([^)]*\)', r'\1', page)  # the links that nbdev adds
    lost = [text for text in prose if text not in page and not text.endswith(' -')]
    assert lost == []

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_signatures_name_their_types(nb, pages):
    "A default of None without annotation is shown as `NoneType`, a class of the notebook's own as `__main__.Name`."
    page = json.loads((pages/nb.relative_to(ROOT/'nbs')).read_text())
    outputs = [o.get('data', {}).get('text/markdown', '') for c in page['cells'] for o in c.get('outputs', [])]
    signatures = ''.join(''.join(text) for text in outputs)
    assert re.findall(r'[^(,\n]*(?:NoneType=None|__main__\.).*', signatures) == []

def test_names_in_the_prose_are_links(pages):
    prose = '\n'.join(text for nb in NBS for text in cells(pages/nb.relative_to(ROOT/'nbs'), 'markdown'))
    site = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['urls']['Documentation']
    links = set(re.findall(rf'\[`([\w.]+)`\]\({re.escape(site)}', prose))
    assert {'read_image', 'small_cnn', 'unet', 'find_lr', 'check_masks'} <= links
    assert len(links) > 100

def cell_options(source):
    "What Quarto reads at the top of a cell, as YAML text; the empty text where there is nothing."
    lines = []
    for line in source.splitlines():
        option = re.match(r'#\s*\| ?', line)
        if not option: break
        lines.append(line[option.end():])
    return '\n'.join(lines)

@pytest.mark.parametrize('nb', NBS, ids=ids)
def test_cell_options_are_yaml(nb, pages):
    "An unquoted `: ` in an alternative text stops the build of the whole site."
    for source in cells(pages/nb.relative_to(ROOT/'nbs'), 'code'):
        options = cell_options(source)
        if options: assert isinstance(yaml.safe_load(options), dict), options

# The lesson's name of each method, and the benchmark's
PRETRAINING_ROWS = {
    'small CNN, from scratch': 'small',
    'logistic regression': 'logistic',
    'frozen, ImageNet (EfficientNet-Lite0)': 'frozen imagenet',
    'frozen, ImageNet (MobileNetV2)': 'frozen mobilenet',
    'frozen, synthetic textures': 'frozen textures',
    'frozen, random weights (EfficientNet-Lite0)': 'frozen none',
    'fine-tuned, ImageNet (EfficientNet-Lite0)': 'finetune imagenet',
    'fine-tuned, ImageNet (MobileNetV2)': 'finetune mobilenet',
    'fine-tuned, synthetic textures': 'finetune textures',
}
PRETRAINING_COLUMNS = {'brain MRI, 5 patients': 'mri', 'white blood cells': 'blood', 'photographs of clothes': 'photos'}

@pytest.fixture(scope='module')
def pretraining():
    "What `benchmarks/pretraining.py` found, and what lesson 6 prints of it."
    found = json.loads((ROOT/'benchmarks/results/pretraining.json').read_text())
    prose = cells(ROOT/'nbs/lessons/06_transfer.ipynb', 'markdown')
    return found, next(text for text in prose if text.startswith('## Which pretraining helps'))

def test_table_of_pretraining_is_what_was_measured(pretraining):
    "Mean and interval of each method on each set; an empty place is one that was not measured."
    found, text = pretraining
    head, _, *rows = [[part.strip() for part in line.strip('|').split('|')] for line in text.splitlines()
                      if line.startswith('|')]
    sets = [PRETRAINING_COLUMNS[name] for name in head[1:]]
    assert sorted(sets) == sorted(found)
    printed, measured = {}, {}
    for label, *values in rows:
        for name, value in zip(sets, values, strict=True):
            if value:
                printed[name, PRETRAINING_ROWS[label]] = [float(number) for number in re.findall(r'[\d.]+', value)]
    for name, result in found.items():
        for method, scores in result['methods'].items():
            measured[name, method] = [round(scores['score'][k], 2) for k in ('mean', 'low', 'high')]
    assert printed == measured

def test_words_about_pretraining_are_what_was_measured(pretraining):
    found, text = pretraining
    minus_small = lambda name, method: found[name]['methods'][method]['minus_small']
    leads = [minus_small('photos', f'frozen {weights}') for weights in ('imagenet', 'mobilenet')]
    low, high = sorted(round(100*lead['mean']) for lead in leads)
    assert f'by {low} to {high} points' in text and all(lead['low'] > 0 for lead in leads)
    assert minus_small('photos', 'frozen textures')['high'] < 0
    for name in ('mri', 'blood'):
        for method in found[name]['methods']:
            if method.endswith(('imagenet', 'mobilenet')):
                difference = minus_small(name, method)
                assert difference['low'] < 0 < difference['high'], (name, method)
            if method.endswith('textures'): assert minus_small(name, method)['mean'] < 0, (name, method)

def test_import_loads_no_torch():
    light = ['core', 'data.preprocess', 'data.synthetic', 'data.datasets', 'metrics.classification', 'cli',
             'teaching.widgets', 'teaching.exercises']
    r = python(f'import sys, importlib, cytokit\nfor m in {light!r}: importlib.import_module("cytokit." + m)\n'
               'print([m for m in ("torch", "fastai", "timm") if m in sys.modules])')
    assert (r.returncode, r.stdout.strip()) == (0, '[]'), r.stderr

def test_import_loads_nothing_but_the_loader():
    r = python('import sys\nbefore = set(sys.modules)\nimport cytokit\nnew = set(sys.modules) - before\n'
               'print(sorted({name.split(".")[0] for name in new} - sys.stdlib_module_names))\n'
               'print([name for name in new if name.startswith("cytokit.")])')
    assert (r.returncode, r.stdout.splitlines()) == (0, ["['cytokit', 'lazy_loader']", '[]']), r.stderr

def test_names_at_the_top_are_those_of_the_stub():
    import cytokit
    assert sorted(verbs()) == dir(cytokit) == sorted(cytokit.__all__)
    assert 15 < len(verbs()) < 40, 'at the top stands what a person types, and no more'
    inside = {path.stem for path in (ROOT/'cytokit').iterdir()}
    assert not inside & set(verbs()), 'a name at the top hides a module'
    with pytest.raises(AttributeError, match='nonsense'): cytokit.nonsense

def test_names_at_the_top_are_the_objects_of_their_modules():
    "Imported as a person does, one after the other in a process that holds nothing yet; torch comes with training only."
    r = python(f"""import importlib, sys
for name, home in {verbs()!r}.items():
    exec(f'from cytokit import {{name}}')
    module = importlib.import_module(f'cytokit.{{home}}')
    assert globals()[name] is getattr(module, name) and name in module.__all__, name
    if 'torch' not in sys.modules: print(name)""")
    assert r.returncode == 0, r.stderr
    wings = 'training', 'segmentation', 'evaluation', 'sharing'
    needs_torch = {name for name, home in verbs().items() if home.startswith(wings)} - {'diary', 'plan', 'write_note'}
    assert set(verbs()) - set(r.stdout.split()) == needs_torch

def test_tab_and_question_mark_know_the_names_at_the_top(tmp_path):
    lines = ['import cytokit, warnings', 'warnings.simplefilter("ignore")  # of an interface that may change',
             'for found in get_ipython().Completer.completions("cytokit.", 8): print(found.text)',
             'print("----")', 'cytokit.check?']
    command = [sys.executable, '-m', 'IPython', '--no-banner', '--colors=NoColor', '-c', '\n'.join(lines)]
    home = {**os.environ, 'IPYTHONDIR': str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True)
    listed, shown = done.stdout.split('----\n', 1)
    assert sorted(name.removeprefix('.') for name in listed.split()) == sorted(verbs())
    assert 'against: str' in shown and 'Find what is wrong with images' in shown
