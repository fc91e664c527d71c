"`cytokit new project` from the outside: a process in an empty folder, and then the project that it made."
import json, os, shutil, subprocess, sys
from pathlib import Path
import cytokit_process, pytest

COMMAND = [sys.executable, '-c', 'from cytokit.cli import entry; entry()']
NOTEBOOKS = ['1_data.ipynb', '2_training.ipynb', '3_errors.ipynb']
QUESTION = 'Is {{ 7*7 }} of "the brains" {% raw %} \\ smaller? ü 🧠'


def process(command, folder, **env):
    "A finished process, with what it printed."
    own = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
    own.pop('GIT_DIR', None)
    return subprocess.run([str(word) for word in command], cwd=folder, env=own, capture_output=True, text=True)


def new(folder, *args, **env):
    "`cytokit new project` with these arguments, in this folder."
    return cytokit_process.cytokit('new', 'project', *args, cwd=folder, env={**os.environ, **env})


def refused(done, *words):
    "Whether a process ended with one clear line that holds these words."
    assert done.returncode == 2, done.stderr
    assert done.stderr.count('\n') == 1 and done.stderr.startswith('cytokit: '), done.stderr
    for word in words: assert word in done.stderr


def git(folder, *args):
    "What git printed."
    who = ['-c', 'user.name=Mentee', '-c', 'user.email=mentee@example.org']
    done = process(['git', *who, *args], folder, PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A project, made with a relative path, and what was printed."
    home = tmp_path_factory.mktemp('mentee')
    done = new(home, 'brains', '--name', 'Brains of Zürich', '--question', QUESTION, '--metric', 'auc')
    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    return home/'brains', done.stdout


def test_project_is_complete(made):
    folder, told = made
    there = {path.name for path in folder.iterdir()}
    files = 'README.md card.md diary.md settings.toml project.py requirements.txt pytest.ini tests .git'
    assert there == {*files.split(), *NOTEBOOKS, '.gitignore', '.gitattributes', '.gitconfig'}
    assert 'jupyter lab' in told and 'brains' in told


def test_name_question_and_metric_stand_in_the_project(made):
    folder, _ = made
    for name in ('README.md', 'card.md'): assert QUESTION in (folder/name).read_text(encoding='utf-8')
    for name in ('README.md', 'card.md', 'diary.md', 'settings.toml'):
        assert 'Brains of Zürich' in (folder/name).read_text(encoding='utf-8')
    for name in ('card.md', 'settings.toml'): assert 'auc' in (folder/name).read_text(encoding='utf-8')


def test_notebooks_use_only_verbs_of_the_top(made):
    "And come without outputs."
    import cytokit
    for name in NOTEBOOKS:
        for cell in json.loads((made[0]/name).read_text(encoding='utf-8'))['cells']:
            if cell['cell_type'] != 'code': continue
            assert cell['outputs'] == []
            for line in ''.join(cell['source']).splitlines():
                assert len(line) <= 120
                if not line.startswith('from cytokit'): continue
                home, names = line.removeprefix('from ').split(' import ')
                assert home == 'cytokit' and {part.strip() for part in names.split(',')} <= set(cytokit.__all__)


def test_own_tests_of_the_project_pass(made):
    done = process([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider'], made[0])
    assert done.returncode == 0, done.stdout[-2000:]
    assert 'passed' in done.stdout and 'deselected' in done.stdout


def test_own_tests_of_the_project_can_fail(made, tmp_path):
    "An empty card, a split that makes no sense and a broken notebook are seen."
    folder = shutil.copytree(made[0], tmp_path/'copy')
    (folder/'card.md').write_text('# Card\n\n## Question\n\n## Metric\n\n`accuracy`\n')
    settings = (folder/'settings.toml').read_text(encoding='utf-8')
    (folder/'settings.toml').write_text(settings.replace('valid = 0.3', 'valid = 0.9'), encoding='utf-8')
    (folder/'1_data.ipynb').write_text('{')
    done = process([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider'], folder)
    assert done.returncode == 1
    wrong = ['test_card_says[Question]', 'test_card_says[Stopping rule]', 'test_card_and_settings_name_the_same_metric',
             'test_settings_make_sense', 'test_notebook_can_be_read[1_data.ipynb]']
    for name in wrong: assert f'FAILED tests/test_project.py::{name}' in done.stdout, name


# The code of a notebook, without a kernel
CELLS = """
import json, sys
sys.path.insert(0, '')
for cell in json.load(open(sys.argv[1], encoding='utf-8'))['cells']:
    if cell['cell_type'] == 'code': exec(''.join(cell['source']), globals())
"""

@pytest.mark.whole
def test_notebooks_run_one_after_the_other(made, tmp_path):
    "With fewer and smaller images than the project begins with."
    folder = shutil.copytree(made[0], tmp_path/'copy')
    settings = (folder/'settings.toml').read_text(encoding='utf-8')
    smaller = {'n = 240': 'n = 120', 'size = 48 ': 'size = 32 ', 'epochs = 6': 'epochs = 2', 'seeds = 2': 'seeds = 1'}
    for text, other in smaller.items():
        assert text in settings
        settings = settings.replace(text, other)
    (folder/'settings.toml').write_text(settings, encoding='utf-8')
    command = [sys.executable, '-m', 'nbconvert', '--to', 'notebook', '--execute', '--inplace']
    done = process([*command, *NOTEBOOKS], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    told = (folder/'3_errors.ipynb').read_text(encoding='utf-8')
    assert 'validation images are wrong' in told and 'still closed' in told
    assert len(list((folder/'runs').glob('*/result.json'))) == 2
    assert git(folder, 'status', '--porcelain', '--ignored').count('!!') >= 2, 'data and runs are not for git'
    (folder/'settings.toml').write_text(settings.replace('open_test = false', 'open_test = true'), encoding='utf-8')
    done = cytokit_process.process(CELLS, '3_errors.ipynb', cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Test: auc' in done.stdout and '24 images' in done.stdout


def test_git_shows_readable_differences(made, tmp_path):
    folder = shutil.copytree(made[0], tmp_path/'copy')
    git(folder, 'add', '.')
    git(folder, 'commit', '-q', '-m', 'Start the project')
    notebook = json.loads((folder/'1_data.ipynb').read_text(encoding='utf-8'))
    code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    code[0]['outputs'] = [dict(output_type='stream', name='stdout', text=['noise\n'])]
    code[1]['source'] = ['x = 1  # mine']
    (folder/'1_data.ipynb').write_text(json.dumps(notebook), encoding='utf-8')
    told = git(folder, 'diff')
    added = [line for line in told.splitlines() if line.startswith('+') and not line.startswith('+++')]
    assert added == ['+x = 1  # mine'] and 'noise' not in told


def test_nbdime_merges_two_changes(made, tmp_path):
    "Two people run a notebook, which conflicts as text, and change two cells of it."
    folder = shutil.copytree(made[0], tmp_path/'copy')
    git(folder, 'add', '.')
    git(folder, 'commit', '-q', '-m', 'Start the project')
    main = git(folder, 'branch', '--show-current').strip()
    def change(place, text, run):
        path = folder/'1_data.ipynb'
        notebook = json.loads(path.read_text(encoding='utf-8'))
        notebook['cells'][place]['source'] = [text]
        notebook['cells'][1]['execution_count'] = run
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding='utf-8')
        git(folder, 'commit', '-q', '-a', '-m', text)
    git(folder, 'checkout', '-q', '-b', 'other')
    change(0, '# Theirs', 3)
    git(folder, 'checkout', '-q', main)
    change(-1, 'Mine', 4)
    git(folder, 'merge', '-q', '--no-edit', 'other')
    cells = json.loads((folder/'1_data.ipynb').read_text(encoding='utf-8'))['cells']
    assert (''.join(cells[0]['source']), ''.join(cells[-1]['source'])) == ('# Theirs', 'Mine')


def test_project_without_options_takes_the_name_of_its_folder(tmp_path):
    done = new(tmp_path, 'my cells')
    assert done.stdout.endswith("jupyter lab 'my cells'\n"), done.stderr
    assert 'Project card: my cells' in (tmp_path/'my cells/card.md').read_text(encoding='utf-8')
    (tmp_path/'cells').mkdir()
    done = new(tmp_path/'cells', '.')  # an empty folder, from inside
    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    assert (tmp_path/'cells/README.md').read_text(encoding='utf-8').startswith('# cells\n')


def test_without_git_it_works_and_says_so(tmp_path):
    done = new(tmp_path, 'cells', PATH='/nowhere')
    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    assert 'git' in done.stdout and not (tmp_path/'cells/.git').exists()
    assert (tmp_path/'cells/.gitattributes').exists()


def test_a_git_that_does_not_work_is_one_line(tmp_path):
    broken = tmp_path/'bin/git'
    broken.parent.mkdir()
    broken.write_text('#!/bin/sh\nexit 3\n')
    broken.chmod(0o755)
    refused(new(tmp_path, 'cells', PATH=f'{broken.parent}:{os.environ["PATH"]}'), 'git is there but does not work')
    assert not (tmp_path/'cells').exists()


def test_inside_a_repository_no_second_one_is_made(tmp_path):
    git(tmp_path, 'init', '-q')
    done = new(tmp_path, 'deep/cells')
    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    assert 'repository' in done.stdout and not (tmp_path/'deep/cells/.git').exists()


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path/'work').mkdir()
    (tmp_path/'work/card.md').write_text('mine')
    refused(new(tmp_path, 'work'), 'not empty')
    assert [path.name for path in (tmp_path/'work').iterdir()] == ['card.md']
    assert (tmp_path/'work/card.md').read_text() == 'mine'
    (tmp_path/'file').write_text('mine')
    refused(new(tmp_path, 'file'), 'file')
    refused(new(tmp_path, 'file/below'), 'not a folder')
    assert (tmp_path/'file').read_text() == 'mine'
    (tmp_path/'link').symlink_to(tmp_path/'nowhere')
    refused(new(tmp_path, 'link'), 'link')


@pytest.mark.parametrize('name', ['../up', 'say "hi"', '{{ 7*7 }}', 'two\nlines', '', '-rf'])
def test_strange_names_are_refused(name, tmp_path):
    refused(new(tmp_path, 'cells', f'--name={name}'), 'name')
    assert list(tmp_path.iterdir()) == []


def test_strange_questions_and_metrics_are_refused(tmp_path):
    refused(new(tmp_path, 'cells', '--question', 'two\nlines'), 'question')
    refused(new(tmp_path, 'cells', '--question', ' '), 'question')
    refused(new(tmp_path, 'cells', '--metric', 'beauty'), 'metric', 'balanced_accuracy')
    refused(new(tmp_path, '!!'), '--name')
    assert list(tmp_path.iterdir()) == []


def test_missing_copier_is_one_line(tmp_path):
    (tmp_path/'copier.py').write_text('raise ImportError("No module named copier")')
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    done = process([*COMMAND, 'new', 'project', 'cells'], tmp_path, PYTHONPATH=path)
    refused(done, 'pip install "cytokit-nb[project]"')
    assert not (tmp_path/'cells').exists()


def test_a_place_that_may_not_be_changed_is_one_line(tmp_path):
    "/proc is such a place for everybody, root too."
    if not os.path.isdir('/proc'): pytest.skip('Linux only')
    refused(new(tmp_path, '/proc/cells'), '/proc')
