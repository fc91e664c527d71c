"`cytokit report` as a process, from another folder: what it writes, what validators say of it, what it refuses."
import re, shutil, sys
from pathlib import Path
import cytokit_process, mlcroissant, pandas as pd, pytest
from huggingface_hub import ModelCard, metadata_load
from cytokit.core import file_digest, read_json, write_json
from cytokit.data.preprocess import Preprocessing
from cytokit.data.synthetic import write_sample
from cytokit.evaluation.compare import compare
from cytokit.segmentation.pipeline import segment
from cytokit.sharing.claim import ITEMS
from cytokit.sharing.report import NAMES, read_template, template_file
from cytokit.training.fit import train

sys.path.insert(0, str(Path(__file__).parents[1]/'teaching'))
from browser import CHROMIUM, chromium
from crate_checker import crate_issues, fill_cache

KINDS = ('train', 'numbers', 'compare', 'segment')
CARD = '''title: Treated <cells>
problem: Which cells were treated?
who_is_helped: Who reads the plates by eye.
metric: balanced_accuracy
good_enough: 0.9
baseline: {name: a reader, value: 0.8, source: our lab}
risks: [few plates]
stop_rule: Below 0.7 after a week.
authors: [Ada (0000-0002-1825-0097)]
licence: Apache-2.0
data_licence: CC0-1.0
'''

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A folder with sets, a run of each kind, a card, and the report of each run."
    home, small = tmp_path_factory.mktemp('report'), Preprocessing(size=32)
    write_sample('cells', home/'cells', 60, per_plate=4, effect=2.)
    write_sample('cells', home/'other', 16, seed=4, per_plate=4, effect=2.)
    write_sample('cells', home/'pairs', 12, masks=True, per_plate=4, size=64)
    (home/'card.yml').write_text(CARD)
    train(home/'cells', out=home/'train', epochs=2, lr=3e-3, valid=.4, preprocessing=small)
    compare(home/'cells', ['majority', 'logistic'], out=home/'compare', preprocessing=small, valid=.4)
    table = pd.read_csv(home/'cells'/'table.csv')
    table = table.assign(image='cells/' + table['image'], target=[k/10 for k in range(len(table))])
    table.to_csv(home/'numbers.csv', index=False)
    train(home/'numbers.csv', out=home/'numbers', epochs=1, lr=3e-3, valid=.4, preprocessing=small)
    segment(home/'pairs', out=home/'segment', preset='tiny', epochs=1, steps=2, patch=32, valid=.4, lr=3e-3)
    for kind in KINDS:
        more = ('--card', 'card.yml', '--challenge', 'other') if kind == 'train' else ()
        code, out, err = report(home, kind, *more)
        assert code == 0 and out.startswith(f'Report: {kind}/report.html'), err
    return home

def report(home, *args):
    "Exit code, output and complaint of the command, started in a folder that is not the project's."
    done = cytokit_process.cytokit('report', *args, cwd=home)
    return done.returncode, done.stdout, done.stderr

def refused(home, *args, says):
    "The command says in one line what is wrong, and leaves no file behind."
    before = sorted(home.rglob('*'))
    code, _, err = report(home, *args)
    assert code == 2 and err.count('\n') == 1 and says in err, err
    assert sorted(home.rglob('*')) == before

@pytest.mark.parametrize('kind', KINDS)
def test_one_page_that_needs_nothing_else(home, kind):
    page = (home/kind/'report.html').read_text()
    assert len(page) < 5*2**20 and '<script' not in page and '<cells>' not in page
    assert page.count('<img') == page.count(' alt="') > 2
    loaded = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"|@import|url\(', page)
    assert [address for address in loaded if not address.startswith('https://github.com')] == []
    for title in ('Data and their quality', 'Split', 'Preprocessing', 'Scores and baselines', 'The worst predictions',
                  'Slices', 'CLAIM 2024', 'How to repeat it', 'Versions', 'How to cite it'):
        assert title in page, title

@pytest.mark.parametrize('kind', KINDS)
def test_nothing_tells_where_it_was_made(home, kind):
    "What the report writes holds no path of this machine."
    for name in NAMES: assert str(home) not in (home/kind/name).read_text(), name

def test_the_notebook_is_executed_and_is_a_template(home):
    notebook = read_json(home/'train'/'report.ipynb')
    code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    assert all(cell['execution_count'] for cell in code)
    assert ''.join(code[0]['source']) == "run, card, challenge = '.', '../card.yml', ['../other']"
    assert read_template(home/'train'/'report.ipynb').cells[1].source == code[0]['source'][0]

def test_the_goal_is_judged(home):
    page = (home/'train'/'report.html').read_text()
    assert re.search(r'goal (met|not met|not shown)</span> Goal ', page) and 'at least 0.9 is good enough' in page
    assert 'No project card was given' in (home/'compare'/'report.html').read_text()

@pytest.mark.parametrize('kind', KINDS)
def test_huggingface_reads_the_model_card(home, kind):
    card, head = ModelCard.load(home/kind/'model_card.md'), metadata_load(home/kind/'model_card.md')
    assert head['library_name'] == 'cytokit' and ('license' in head) == (kind == 'train')
    result, scores = read_json(home/kind/'result.json'), card.data.eval_results
    kept = {(s.metric_name, s.metric_type): s.metric_value for s in scores}
    if kind == 'train':
        mean = result['balanced_accuracy']['mean']
        assert kept['balanced accuracy, small', 'balanced_accuracy'] == round(mean, 6)
    assert kept and all(isinstance(value, float) for value in kept.values())
    assert 'targets' not in head['metrics'] and 'Only you can say' in card.text

def test_roc_validator_accepts_the_crate(home, tmp_path):
    fill_cache(tmp_path/'cache')
    assert crate_issues(home/'segment', tmp_path/'cache', 'REQUIRED') == []

@pytest.mark.parametrize('kind', KINDS)
def test_the_crate_names_what_was_made_from_what(home, kind):
    graph = {entity['@id']: entity for entity in read_json(home/kind/NAMES[-1])['@graph']}
    for name in ('run.json', 'report.html', 'claim.md'): assert graph[name]['sha256'] == file_digest(home/kind/name)
    assert graph['#run']['@type'] == 'CreateAction'
    assert {o['@id'] for o in graph['#report']['result']} == set(NAMES[:-1])

def test_recommended_of_the_crate(home, tmp_path):
    "With authors and licence only an address to write to is missing, which no card asks for; nothing required is."
    fill_cache(tmp_path/'cache')
    issues = crate_issues(home/'train', tmp_path/'cache', 'RECOMMENDED')
    assert [number for number, _ in issues] == ['ro-crate-1.2_93.0']

def test_the_validator_sees_a_broken_crate(home, tmp_path):
    shutil.copytree(home/'train', tmp_path/'run')
    (tmp_path/'run'/'split.csv').unlink()
    fill_cache(tmp_path/'cache')
    assert crate_issues(tmp_path/'run', tmp_path/'cache', 'REQUIRED')

@pytest.mark.parametrize('kind', KINDS)
def test_croissant_reads_the_table(home, kind):
    data = mlcroissant.Dataset(jsonld=str(home/kind/'croissant.json'))
    assert not data.metadata.ctx.issues.errors
    rows, split = list(data.records('images')), pd.read_csv(home/kind/'split.csv')
    assert len(rows) == len(split)
    assert {key.split('/')[1] for key in rows[0]} == set(split)
    if kind == 'numbers': assert sorted(r['images/target'] for r in rows) == pytest.approx(sorted(split['target']))

def test_claim_is_answered(home):
    "At least 32 of 44 with a full card and a set from elsewhere; fewer, and honestly so, without."
    text = (home/'train'/'claim.md').read_text()
    numbers = [int(n) for n in re.findall(r'^(\d+)\. \*\*', text, re.M)]
    open_ones = [int(n) for n in re.findall(r'^(\d+)\. .*Only you can say', text, re.M)]
    assert numbers == [item.number for item in ITEMS] == list(range(1, 45))
    assert 44 - len(open_ones) >= 32 and {7, 8, 11, 14, 16, 18, 34, 44} <= set(open_ones)
    for kind in ('numbers', 'compare', 'segment'):
        assert 20 < 44 - (home/kind/'claim.md').read_text().count('**Only you can say:**') < 32

@pytest.mark.skipif(not CHROMIUM, reason='needs Chromium')
def test_no_sideways_scroll(home):
    with chromium() as browser:
        for kind in KINDS:
            for width in (1440, 800, 390):
                page = browser.new_page(viewport=dict(width=width, height=900))
                page.goto((home/kind/'report.html').as_uri())
                page.evaluate('document.querySelectorAll("details").forEach(d => d.open = true)')
                assert page.evaluate('document.documentElement.scrollWidth') <= width, (kind, width)
                page.close()

# ---- again, elsewhere, damaged

@pytest.fixture
def copy(home, tmp_path):
    "The images and the run of classes without its report, to be damaged."
    shutil.copytree(home/'cells', tmp_path/'cells')
    shutil.copytree(home/'train', tmp_path/'run', ignore=shutil.ignore_patterns(*NAMES))
    return tmp_path

def test_again_keeps_what_was_edited(home, tmp_path):
    shutil.copytree(home/'cells', tmp_path/'cells')
    shutil.copytree(home/'train', tmp_path/'train')
    sheet, page = tmp_path/'train'/'claim.md', tmp_path/'train'/'report.html'
    sheet.write_text('my own words')
    page_before = page.stat().st_mtime_ns
    for _ in range(2):
        code, out, _ = report(tmp_path, 'train')
        assert code == 0 and 'Kept as you left them' in out and 'claim.md' in out
        assert sheet.read_text() == 'my own words' and page.stat().st_mtime_ns > page_before

def test_nothing_in_the_run_folder_is_executed(copy):
    "Not even a module with the name of one that the report imports."
    for name in ('pandas.py', 'sitecustomize.py', 'usercustomize.py'):
        (copy/'run'/name).write_text('open("/dev/stdout", "w").write("EXECUTED"); raise SystemExit(3)')
    code, out, err = report(copy/'run', '.')
    assert code == 0 and 'EXECUTED' not in out, err
    assert 'pandas.py' in (copy/'run'/NAMES[-1]).read_text()

def test_images_gone(copy):
    "Still a report, and it says so."
    shutil.rmtree(copy/'cells')
    code, out, err = report(copy, 'run')
    assert code == 0 and 'images are not where split.csv says' in out and err == ''
    page = (copy/'run'/'report.html').read_text()
    assert page.count('what needs the images is left out') >= 3 and 'Scores and baselines' in page

def test_damaged_runs(copy):
    run = copy/'run'
    held = (run/'predictions.csv').read_text()
    (run/'predictions.csv').write_text(held[:len(held)//2])
    refused(copy, 'run', says='predictions.csv')
    (run/'predictions.csv').write_text(held)
    result = read_json(run/'result.json')
    wrong = result['balanced_accuracy'] | dict(mean='much')
    write_json(run/'result.json', result | dict(balanced_accuracy=wrong))
    code, _, err = report(copy, 'run')
    assert code == 2 and err.count('\n') == 1 and 'damaged' in err, err
    (run/'result.json').unlink()
    refused(copy, 'run', says='not finished; `cytokit resume` it first')
    refused(copy, 'cells', says='not a run folder')
    refused(copy, 'nowhere', says='no such folder')

def test_bad_cards(copy):
    (copy/'dice.yml').write_text('title: x\nmetric: dice\ngood_enough: 0.9\n')
    refused(copy, 'run', '--card', 'dice.yml', says='which this run does not have')
    (copy/'list.yml').write_text('- a\n- b\n')
    refused(copy, 'run', '--card', 'list.yml', says='list.yml')
    refused(copy, 'run', '--card', 'none.yml', says='no such file')

def test_bad_templates(copy):
    template = read_json(template_file())
    template['cells'][3]['source'] = ['x = 1\n', 'report.titel(x)']
    write_json(copy/'bad.ipynb', template)
    refused(copy, 'run', '--template', 'bad.ipynb',
            says='bad.ipynb: code cell 3 failed at `report.titel(x)`: AttributeError')
    template['cells'] = template['cells'][3:]
    write_json(copy/'bare.ipynb', template)
    refused(copy, 'run', '--template', 'bare.ipynb', says='no cell tagged parameters')
    (copy/'text.ipynb').write_text('not json')
    refused(copy, 'run', '--template', 'text.ipynb', says='not a notebook')

def test_a_teachers_template_into_a_folder_with_other_files(copy):
    "Own words, own figure, own order; what is there stays."
    template = read_json(template_file())
    own = dict(cell_type='markdown', id='own', metadata={}, source='## What I would ask\n\nWhich plate is worst?')
    code = dict(cell_type='code', id='table', metadata={}, outputs=[], execution_count=None,
                source='report.facts.run.table')
    template['cells'] = [*template['cells'][:4], own, code]
    write_json(copy/'mine.ipynb', template)
    (copy/'out').mkdir()
    (copy/'out'/'notes.txt').write_text('mine')
    code, _, err = report(copy, 'run', '--template', 'mine.ipynb', '--out', 'out')
    page = (copy/'out'/'report.html').read_text()
    assert code == 0 and 'Which plate is worst?' in page and 'macro f1' in page and 'How to cite it' not in page, err
    assert (copy/'out'/'notes.txt').read_text() == 'mine' and not (copy/'run'/'report.html').exists()
    refused(copy, 'run', '--out', 'out', says='nothing is overwritten')
    refused(copy, 'run', '--out', 'out/notes.txt', says='not a folder')

def test_disk_full(copy):
    "As a full disk: no file may grow beyond so many KiB, the page does."
    code = ('import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 10, 40 << 10)); '
            'from cytokit.cli import entry; entry()')
    before = sorted(copy.rglob('*'))
    done = cytokit_process.process(code, 'report', 'run', cwd=copy)
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'free some space' in done.stderr, done.stderr
    assert sorted(copy.rglob('*')) == before

def test_missing_packages(copy):
    code = ('import sys, importlib.util as u; find = u.find_spec\n'
            'u.find_spec = lambda name, *a: None if name == "mlcroissant" else find(name, *a)\n'
            'from cytokit.cli import entry; entry()')
    done = cytokit_process.process(code, 'report', 'run', cwd=copy)
    assert done.returncode == 2 and 'pip install "cytokit-nb[report]"' in done.stderr
