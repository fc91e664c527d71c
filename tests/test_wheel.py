"The wheel: built from the source distribution as the release does it, installed once, and used in empty folders."
import configparser, email, json, os, re, shutil, subprocess, sys, zipfile
from pathlib import Path
import pytest
from cytokit_missing import hide_packages
from cytokit.teaching.editions import lesson_files, make_edition, read_notebook

ROOT = Path(__file__).resolve().parents[1]
LESSONS = lesson_files()
COMMAND = 'import sys; from cytokit.cli import main; sys.exit(main(sys.argv[1:]))'
# What somebody has who works on cytokit, and somebody who only installed it has not
TOOLS = ['nbdev', 'execnb', 'jupytext', 'nbconvert', 'nbformat', 'nbclient', 'jupyterlab', 'notebook', 'ipykernel',
         'jupyter_client', 'pytest', 'hypothesis', 'build', 'ruff', 'playwright', 'copier', 'optuna', 'onnx', 'otter']

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "Built in a copy, since a build leaves folders behind."
    source = tmp_path_factory.mktemp('source')
    for name in ('setup.py', 'settings.ini', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'):
        shutil.copy(ROOT/name, source)
    shutil.copytree(ROOT/'cytokit', source/'cytokit', ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copytree(ROOT/'nbs/lessons', source/'nbs/lessons')
    subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--outdir', source/'dist', source],
                   check=True, capture_output=True)
    return next((source/'dist').glob('cytokit_nb-*.whl'))

@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    "Runs Python with the installed wheel, in a folder without the repository."
    site = tmp_path_factory.mktemp('site')
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', site, wheel], check=True)
    env = {**os.environ, 'PYTHONPATH': str(site), 'https_proxy': 'http://127.0.0.1:9'}
    def run(folder, *args):
        return subprocess.run([sys.executable, *args], cwd=folder, env=env, capture_output=True, text=True)
    run.site, run.env = site, env
    return run

def test_it_holds_what_is_needed_and_no_more(wheel):
    "The backbone, the stub, the template of a project, and the lessons without outputs."
    holds = zipfile.ZipFile(wheel)
    names = holds.namelist()
    assert any(n.startswith('cytokit/weights/') and n.endswith('.safetensors') for n in names)
    assert {'cytokit/__init__.pyi', 'cytokit/py.typed'} <= set(names)
    assert {'cytokit/teaching/review.js', 'cytokit/teaching/review.css'} <= set(names)
    assert 'cytokit/sharing/report_template.ipynb' in names
    assert not any(n.startswith(('nbs', 'tests')) for n in names)
    template = ROOT/'cytokit/teaching/project_template'
    files = {str(p.relative_to(ROOT)) for p in template.rglob('*') if p.is_file() and '__pycache__' not in p.parts}
    assert len(files) > 12 and {n for n in names if '/project_template/' in n} == files
    lessons = [name for name in names if name.startswith('cytokit/lessons/')]
    assert sorted(Path(name).name for name in lessons) == [path.name for path in LESSONS]
    for name in lessons: assert not any(cell.get('outputs') for cell in json.loads(holds.read(name))['cells'])

def test_it_is_small_enough_for_the_index(wheel):
    assert wheel.stat().st_size < 12_000_000

@pytest.fixture(scope='module')
def metadata(wheel):
    "What the package index reads."
    holds = zipfile.ZipFile(wheel)
    name = next(name for name in holds.namelist() if name.endswith('.dist-info/METADATA'))
    return email.message_from_bytes(holds.read(name))

def test_the_metadata_is_that_of_the_settings(metadata):
    ini = configparser.ConfigParser(delimiters=['='], interpolation=None)
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    settings = ini['DEFAULT']
    assert (metadata['Name'], metadata['Version']) == (settings['name'], settings['version'])
    assert metadata['Requires-Python'] == '>=3.10' and metadata['Summary'] == settings['description']
    pythons = [line.rpartition(' ')[2] for line in metadata.get_all('Classifier') if 'Python :: 3.' in line]
    assert pythons == ['3.10', '3.11', '3.12', '3.13']
    needs = metadata.get_all('Requires-Dist')
    assert [need for need in needs if 'extra ==' not in need] == settings['requirements'].split()
    extras = [line.partition(':')[0] for line in settings['extras'].splitlines() if line]
    assert metadata.get_all('Provides-Extra') == extras

def test_every_link_of_the_index_page_leads_to_the_web(metadata):
    "There is no folder beside the README there: a page goes to the docs, an image to its file."
    page = metadata.get_payload()
    links = re.findall(r'\]\(([^)\s]+)\)', page) + re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) > 30 and [link for link in links if not re.match('https://|#', link)] == []
    assert 'https://cytokit.github.io/cytokit/quality/check.html' in links

def test_links_and_images_become_addresses(tmp_path):
    import runpy
    with_addresses = runpy.run_path(str(ROOT/'setup.py'))['with_addresses']
    def made(text): return with_addresses(text, 'https://docs/', 'https://github.com/o/r', '0.2')
    assert made('[a](nbs/x/05_y_z.ipynb)') == '[a](https://docs/x/y_z.html)'
    assert made('[a](nbs/01_x.ipynb#b) [c](nbs/index.ipynb)') == '[a](https://docs/x.html#b) [c](https://docs/index.html)'
    assert made('![a b](nbs/images/c.png)') == '![a b](https://raw.githubusercontent.com/o/r/v0.2/nbs/images/c.png)'
    assert made('[![a](nbs/b.svg)](LICENSE)') == (
        '[![a](https://raw.githubusercontent.com/o/r/v0.2/nbs/b.svg)](https://github.com/o/r/blob/v0.2/LICENSE)')
    as_it_is = '[a](https://b.c/d.ipynb) [e](#f) [g](mailto:h@i)'
    assert made(as_it_is) == as_it_is

@pytest.fixture(scope='module')
def bare(installed, tmp_path_factory):
    "Runs a program where the wheel is installed and no tool of developers."
    hidden = tmp_path_factory.mktemp('hidden')
    hide_packages(hidden, *TOOLS)
    env = {**installed.env, 'PYTHONPATH': os.pathsep.join(map(str, [hidden, installed.site]))}
    def run(folder, *program):
        return subprocess.run(program, cwd=folder, env=env, capture_output=True, text=True)
    return run

def test_it_is_imported_where_no_tool_is(installed, bare, tmp_path):
    for name in ('nbdev', 'nbconvert', 'pytest'):
        assert f"No module named '{name}'" in bare(tmp_path, sys.executable, '-c', f'import {name}').stderr
    code = """import cytokit, cytokit.evaluation.compare, cytokit.cli, cytokit.teaching.widgets
import cytokit.teaching.exercises
from cytokit import check, compare, segment
print(cytokit.__file__)"""
    done = bare(tmp_path, sys.executable, '-c', code)
    assert done.returncode == 0 and done.stdout.startswith(str(installed.site)), done.stderr

def test_the_verbs_work_where_no_tool_is(installed, bare, tmp_path):
    "From images to scores, in an empty folder, with the command as pip installs it."
    lines = ['--version', 'sample mri scans --n 24', 'check scans --html check.html',
             'train scans --method small --size 16 --epochs 1 --lr 0.003 --out run',
             'predict run scans/control --csv predictions.csv',
             'sample cells cells --n 8 --set masks=true --set size=64 --set per_plate=2',
             'segment train cells --preset tiny --patch 32 --epochs 1 --lr 0.003 --out unet',
             'lessons course', 'new lesson own']
    for line in lines:
        done = bare(tmp_path, installed.site/'bin/cytokit', '-q', *line.split())
        assert done.returncode == 0, f'{line}\n{done.stderr[-1000:]}'
    for name in ('check.html', 'run/figure.png', 'predictions.csv', 'unet/figure.png', 'course/00_plan.ipynb'):
        assert (tmp_path/name).stat().st_size > 0, name

def test_it_makes_a_project(installed, tmp_path):
    done = installed(tmp_path, '-c', COMMAND, 'new', 'project', 'cells')
    assert (done.returncode, done.stderr) == (0, '')
    own = installed(tmp_path/'cells', '-m', 'pytest', '-q')
    assert own.returncode == 0, own.stdout[-2000:]

def test_the_course_comes_with_it(installed, tmp_path):
    "In an empty folder, without the repository and without network, as on Colab."
    empty = tmp_path/'empty folder'
    empty.mkdir()
    def cytokit(*args): return installed(empty, '-c', COMMAND, *args)
    for edition in ('student', 'instructor'):
        done = cytokit('lessons', f'the {edition}', '--edition', edition)
        assert (done.returncode, done.stderr) == (0, '') and f"'the {edition}'" in done.stdout
        assert sorted(path.name for path in (empty/f'the {edition}').iterdir()) == [path.name for path in LESSONS]
        copy, made = read_notebook(empty/f'the {edition}'/LESSONS[0].name), make_edition(LESSONS[0], edition)
        signed = copy['metadata'].pop('cytokit')
        assert [c['source'] for c in copy['cells']] == [c['source'] for c in made['cells']]
        assert signed['edition'] == edition
    assert cytokit('new', 'lesson', 'thresholds').returncode == 0
    assert cytokit('lessons', 'own', '--lesson', 'thresholds.ipynb').returncode == 0
    marks = cytokit('grade', 'own', '--lesson', 'thresholds.ipynb')
    assert (marks.returncode, marks.stderr) == (0, '') and '0 of 1' in marks.stdout, marks.stderr
