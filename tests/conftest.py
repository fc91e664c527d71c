"Tests keep their own cache."
import atexit, math, os, re, shutil, tempfile
os.environ['CYTOKIT_CACHE'] = tempfile.mkdtemp(prefix='cytokit-cache-')
atexit.register(shutil.rmtree, os.environ['CYTOKIT_CACHE'], ignore_errors=True)

from pathlib import Path
import pytest
from cytokit_process import process

@pytest.fixture(autouse=True)
def no_log(monkeypatch):
    "Commands that run inside a test write no progress; test_kernel.py looks at the log of a process."
    from cytokit import core
    monkeypatch.setattr(core, '_last_line', math.inf)

# Longest first; what is not named follows
LONG = ['test_lessons', 'test_readme', 'test_fit', 'test_project', 'test_pipeline', 'test_budget', 'test_kernel',
        'test_faults', 'test_site', 'test_editions', 'test_projects', 'test_wheel', 'test_models', 'test_findings',
        'test_instances', 'test_interpret', 'test_numbers']
WHOLE = {'test_lessons', 'test_readme', 'test_fit', 'test_budget', 'test_kernel', 'test_editions'}

def pytest_collection_modifyitems(items):
    "The long ones first, so that at the end no process waits for another; and what `make quick` leaves out is marked."
    place = {stem: i for i, stem in enumerate(LONG)}
    items.sort(key=lambda item: (place.get(item.path.stem, len(LONG)), lesson_part(item.nodeid)))
    for item in items:
        needs_all = {'pages', 'wheel'} & set(item.fixturenames)
        if needs_all or item.path.stem in WHOLE: item.add_marker('whole')

def lesson_part(nodeid):
    "Which third of the lessons a test belongs to: each goes to another process, with a JupyterLab of its own."
    lesson = re.search(r'test_lesson\[(\d+)_', nodeid)
    return int(lesson[1]) % 3 if lesson else 0

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "A process takes a whole file, so that what its tests need is made once; only the lessons are in three parts."
    from xdist.scheduler import LoadFileScheduling
    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid): return f'{super()._split_scope(nodeid)}, part {lesson_part(nodeid)}'
    return ByFile(config, log)

ROOT = Path(__file__).resolve().parents[1]

# In one process: a second one would only import everything again
PAGES = """
import functools, tomllib
tomllib.loads = functools.cache(tomllib.loads)  # else called for every cell
from nbdev.serve import proc_nbs
proc_nbs(force=True, n_workers=0)
"""

@pytest.fixture(scope='session')
def pages(tmp_path_factory, worker_id):
    "All of `nbdev-docs` but Quarto, which draws the pages; made once, also where pytest has several workers."
    from filelock import FileLock
    shared = tmp_path_factory.getbasetemp() if worker_id == 'master' else tmp_path_factory.getbasetemp().parent
    ready = shared/'pages-ready'
    with FileLock(f'{ready}.lock'):
        if not ready.exists():
            r = process(PAGES, cwd=ROOT)
            assert r.returncode == 0, r.stderr[-2000:]
            ready.touch()
    return ROOT/'_proc'
