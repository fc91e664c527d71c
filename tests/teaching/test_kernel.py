"Progress in a log and in a notebook that is saved; figures in a live kernel."
import os
from pathlib import Path
import nbclient, nbformat, pytest
from cytokit_process import COMMAND, start


def begin(*args, folder):
    "The command, with what it prints in files of this folder."
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    return start(COMMAND, *args, cwd=folder, env=env, output=folder)

def log(process, folder):
    "What is in the log of a command that went well."
    process.join()
    assert process.exitcode == 0
    return (folder/'err').read_text()


@pytest.fixture(scope='module')
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp('progress')
    short = begin('sample', 'mri', 'scans', '--n', '40', folder=folder)
    assert log(short, folder) == ''  # short work leaves no line
    return folder/'scans'

def test_a_log_does_not_stay_empty(scans, tmp_path):
    "A line is due when 10 seconds have passed."
    loud, quiet = tmp_path/'loud', tmp_path/'quiet'
    for folder in (loud, quiet): folder.mkdir()
    train = 'train', scans, '--size', 32, '--seconds', 14, '--out', 'run'
    beside = begin('--quiet', *train, folder=quiet)
    lines = log(begin(*train, folder=loud), loud).splitlines()
    assert lines, 'nothing was written in a whole training'
    for line in lines: assert line.startswith('scans, small') and ' of ' in line and '%' in line and '\r' not in line
    assert '(100 %)' in lines[-1]
    assert log(beside, quiet) == ''


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


MADE = '''
import numpy as np, pandas as pd, torch
from pathlib import Path
from tempfile import mkdtemp
from PIL import Image
from cytokit.evaluation.compare import compare
from cytokit.evaluation.robustness import SeverityCurve
from cytokit.data.preprocess import Preprocessing
from cytokit.training.loaders import preview
from cytokit.training.lr_finder import find_lr
from cytokit.data.pairs import pairs
from cytokit.segmentation.patches import load_pixels, patch_preview
from cytokit.data.synthetic import make_cells, write_sample
from cytokit.segmentation.pipeline import segment
from cytokit.training.fit import train

home = Path(mkdtemp())
scans = write_sample('mri', home/'scans', n=40, size=32)
run = train(scans, 'small', home/'run', Preprocessing(size=32), epochs=1, lr=3e-3)
comparison = compare(scans, ['majority', 'logistic'], home/'compare', Preprocessing(size=32), seeds=1)
scores = pd.DataFrame(dict(severity=[0, 1], score=[.9, .6], low=[.8, .5], high=[1, .7]))
curve = SeverityCurve('blur', 'train', scores, 2, 1)
x = torch.rand(16, 1, 32, 32)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 2))
found = find_lr((net, torch.optim.Adam(net.parameters()), [(x, torch.arange(16) % 2)]*8, torch.nn.CrossEntropyLoss()))
for d in ('images', 'masks'): (home/'cells'/d).mkdir(parents=True)
for i in range(8):
    for d, a in zip(('images', 'masks'), make_cells(i, size=64, n_cells=4)):
        Image.fromarray(a).save(home/f'cells/{d}/{i}.png')
unet = segment(home/'cells', out=home/'unet', preset='tiny', patch=32, epochs=1, steps=2, batch_size=2)
pixels = load_pixels(pairs(home/'cells'), Preprocessing(channels=1), 'instance')
'''
DRAWN = ['run.plot()', 'comparison.plot()', 'curve.plot()', "preview(x, 'flips', 2)", 'found.plot()', 'unet.plot()',
         'unet.view(1)', "patch_preview(pixels, 0, 'none', 32, 2)"]

def test_a_figure_is_shown_once():
    new = nbformat.v4.new_code_cell
    last, inside, kept, again = [[new(s.format(d)) for d in DRAWN]
                                 for s in ('{}', '{}\nprint()', 'fig = {}\nfig.axes[0].set_title("mine")', 'fig')]
    in_turn = [c for pair in zip(kept, again) for c in pair]
    book = nbformat.v4.new_notebook(cells=[new(MADE), *last, *inside, *in_turn])
    nbclient.NotebookClient(book, kernel_name='python3', timeout=600).execute()
    for c in book.cells[1:]:
        pictures = [o for o in c.outputs if 'image/png' in o.get('data', {})]
        assert len(pictures) == 1, (c.source, len(pictures))

def test_every_figure_is_returned_through_show_once():
    for p in Path(__file__).parents[2].joinpath('cytokit').rglob('*.py'):
        if p.name in ('core.py', 'new_lesson.py'): continue  # it holds a lesson as text
        assert 'return fig\n' not in p.read_text(), p.name
