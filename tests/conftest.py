"Tests keep their own cache."
import atexit, os, shutil, sys, tempfile
os.environ['CYTOKIT_CACHE'] = tempfile.mkdtemp(prefix='cytokit-cache-')
atexit.register(shutil.rmtree, os.environ['CYTOKIT_CACHE'], ignore_errors=True)

import pytest

@pytest.fixture(autouse=True)
def new_log(monkeypatch):
    "A test's commands run in one process, and a log's lines are as far apart as in a process of their own."
    core = sys.modules.get('cytokit.core')
    if core: monkeypatch.setattr(core, '_last_line', None)

LONG = 'test_lessons_browser', 'test_readme', 'test_training', 'test_budget'

def pytest_collection_modifyitems(items):
    "The long ones first, so that at the end no process waits for another."
    items.sort(key=lambda item: item.path.stem not in LONG)
