"Tests keep their own cache."
import atexit, math, os, shutil, tempfile
os.environ['CYTOKIT_CACHE'] = tempfile.mkdtemp(prefix='cytokit-cache-')
atexit.register(shutil.rmtree, os.environ['CYTOKIT_CACHE'], ignore_errors=True)

import pytest

@pytest.fixture(autouse=True)
def no_log(monkeypatch):
    "Commands that run inside a test write no progress; test_kernel.py looks at the log of a process."
    from cytokit import core
    monkeypatch.setattr(core, '_last_line', math.inf)

LONG = ['test_lessons', 'test_readme', 'test_fit', 'test_budget', 'test_kernel', 'test_editions']  # longest first

def pytest_collection_modifyitems(items):
    "The long ones first, so that at the end no process waits for another; and what `make quick` leaves out is marked."
    place = {stem: i for i, stem in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))
    for item in items:
        needs_all = {'pages', 'wheel'} & set(item.fixturenames)
        if needs_all or item.path.stem in LONG: item.add_marker('whole')
