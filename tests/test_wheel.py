"The wheel: built from the source distribution as the release does it, installed once, and used in empty folders."
import json, os, shutil, subprocess, sys, zipfile
from pathlib import Path
import pytest
from cytokit.teaching.editions import lesson_files, make_edition, read_notebook

ROOT = Path(__file__).resolve().parents[1]
LESSONS = lesson_files()
COMMAND = 'import sys; from cytokit.cli import main; sys.exit(main(sys.argv[1:]))'

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
    run.site = site
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

def test_it_works_without_nbdev(installed, tmp_path):
    "Nothing in it needs the toolchain."
    code = """import sys
for m in ('nbdev', 'jupytext', 'nbconvert', 'pytest', 'execnb'): sys.modules[m] = None
import cytokit, cytokit.evaluation.compare, cytokit.cli, cytokit.teaching.widgets, cytokit.teaching.exercises
from cytokit import check, compare, segment
print(cytokit.__file__)"""
    done = installed(tmp_path, '-c', code)
    assert done.returncode == 0 and done.stdout.startswith(str(installed.site)), done.stderr

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
