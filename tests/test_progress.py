"Progress where nobody watches a terminal: in a log, and in a notebook that is saved."
import os, subprocess, sys
from pathlib import Path
import nbclient, nbformat, pytest


def cytokit(*args, folder, **env):
    "The command as a user runs it, with its messages in the file `log`; returns what is in it."
    env = {**os.environ, **env}
    env.pop('IN_TEST', None)
    with open(folder/'log', 'w') as log:
        subprocess.run([Path(sys.executable).with_name('cytokit'), *args], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=log, check=True)
    return (folder/'log').read_text()


@pytest.fixture(scope='module')
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp('progress')
    assert cytokit('sample', 'mri', 'scans', '--n', '40', folder=folder) == ''  # short work leaves no line
    return folder

LONG = 'train', 'scans', '--size', '32', '--seconds', '15'

def test_a_log_does_not_stay_empty(scans):
    lines = cytokit(*LONG, folder=scans).splitlines()
    assert lines, 'nothing was written in a whole training'
    for line in lines: assert line.startswith('scans, small') and ' of ' in line and '%' in line and '\r' not in line
    assert '(100 %)' in lines[-1]

def test_quiet_silences_the_log(scans):
    assert cytokit('--quiet', *LONG, folder=scans) == ''


CELLS = ['''
import time
from cytokit.core import progress
''', '''
print('before')
for i in progress(range(4), 'one'): time.sleep(.4)
for i in progress(range(4), 'two'):
    for j in progress(range(2), 'inner'): time.sleep(.4)
print('after')
''', '''
for i in progress(range(4), 'stopped'):
    time.sleep(.4)
    if i == 2: break
''']

def test_nothing_of_a_bar_is_kept_in_a_notebook(monkeypatch):
    monkeypatch.delenv('IN_TEST', raising=False)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s.strip()) for s in CELLS])
    shown = []
    client = nbclient.NotebookClient(book, kernel_name='python3')
    output = client.process_message
    def watch(msg, *args):
        if msg['msg_type'] == 'update_display_data': shown.append(msg['content']['data'].get('text/plain', ''))
        return output(msg, *args)
    client.process_message = watch
    client.execute()
    assert any('one' in s and '4' in s for s in shown) and any('inner' in s for s in shown)
    outputs = [o for c in book.cells for o in c.outputs]
    assert [o.text for o in outputs if o.output_type == 'stream'] == ['before\n', 'after\n']
    others = [o for o in outputs if o.output_type != 'stream']
    assert others and not any(o.data for o in others)
    assert len(others) == 3  # the bar inside another, the other, and the one of the last cell
