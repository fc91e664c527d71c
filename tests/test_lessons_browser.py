"The lessons' widgets and checks, worked by keyboard and mouse in a real JupyterLab."
import base64, io, shutil, statistics
from pathlib import Path
import nbformat, pytest
from PIL import Image
from browser import CHROMIUM, Notebook, chromium, jupyter

pytest.importorskip('playwright')
pytest.importorskip('jupyterlab')
pytestmark = pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine')

LESSONS = Path(__file__).parents[1]/'nbs'/'lessons'
LESSON = ['''
import numpy as np, pandas as pd, matplotlib.pyplot as plt
from cytokit.widgets import dial, predict, recall
from cytokit.course import check_answer, hint, solution
table = pd.DataFrame(dict(target=list('aabab'), group=list('pqrpq'), split=['train']*3 + ['valid']*2))
''', '''
predict('tiny-points', 'How many points does a split by image flatter?', (0, 40, 1))
''', '''
predict('tiny-split', 'Which split is honest?', ['by image', 'by augmented copy', 'by patient'])
''', '''
recall('tiny-split', 'by patient')
''', '''
picture = np.random.default_rng(0).random((64, 64))
def lab(share=.3, split='by image'):
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    left.imshow(picture*share, cmap='gray', vmin=0, vmax=1); left.set(xlabel='x (pixels)', ylabel='y (pixels)')
    fig.subplots_adjust(bottom=.2); right.bar(['image', 'copy', 'patient'], [.9, .8, .6 + share/4], yerr=.03, color='#0072B2'); right.set(ylabel='balanced accuracy', ylim=(0, 1), title=split)
    return fig
dial(lab, 'Three splits and what they score', share=(0., 1., .02), split=['by image', 'by patient'])
''', '''
answer = ...
check_answer('leak-find', answer, table=table)
''', '''
hint('leak-find')
solution('leak-find')
''', '''
import time
for i in range(6):
    fig, ax = plt.subplots(figsize=(2, 1)); ax.plot([1, 2, i]); plt.show(); time.sleep(.1)
''']


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lab')
    cells = [nbformat.v4.new_code_cell(s.strip()) for s in LESSON]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell('# A tiny lesson'), *cells],
        metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python'))), folder/'tiny.ipynb')
    with jupyter(folder) as address, chromium() as browser:
        def open_notebook(name, **kw):
            if not (folder/name).exists(): shutil.copy(LESSONS/name, folder)
            return Notebook(browser, address, name, **kw)
        yield open_notebook


def test_widgets(lab, capsys):
    n = lab('tiny.ipynb')
    n.run_all()
    assert n.errors() == []
    n.shot('tiny-run')

    # a prediction: nothing chosen, chosen, kept, recalled beside the result, still there when the cell is run again
    ask = n.cell('Which split is honest')
    assert 'kept no prediction' in n.shown(n.cell('recall('))
    ask.get_by_role('button', name='Commit').click()
    ask.get_by_text('Choose one first.').wait_for()
    ask.get_by_role('button', name='by image').click()
    ask.get_by_role('button', name='Commit').click()
    ask.get_by_text('You predicted by image').wait_for()
    assert 'You predicted “by image”. It was “by patient”.' in n.run('recall(')
    assert 'You predicted by image' in n.run('Which split is honest')

    # the dial: by key and by button; one picture, in the place of its still, with alternative text
    d = n.cell('dial(')
    ms = [n.press(d) for _ in range(11)]
    with capsys.disabled(): print(f'\n[dial: {statistics.median(ms):.0f} ms from key to picture, median of {len(ms)}; longest {max(ms):.0f}]')
    assert d.locator('.widget-readout').inner_text() == '0.52'
    picture = d.locator('img:visible')
    assert picture.count() == 1 and picture.get_attribute('alt') == 'Three splits and what they score'
    before = picture.get_attribute('src')
    d.get_by_role('button', name='by patient').click()
    n.page.wait_for_function('([c, s]) => c.querySelector("img").src !== s', arg=[d.element_handle(), before])

    # turned in haste while another cell draws: neither takes the other's figures
    n.cell('import time').click()
    n.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell') }")
    d.locator('.noUi-handle').focus()
    for _ in range(20): n.page.keyboard.press('ArrowRight'); n.page.wait_for_timeout(20)
    n.settle()
    assert n.cell('import time').locator('img').count() == 6 and d.locator('img:visible').count() == 1
    drawn = Image.open(io.BytesIO(base64.b64decode(picture.get_attribute('src').split(',')[1])))
    assert drawn.convert('L').getextrema() == (0, 255) and d.locator('.widget-readout').inner_text() == '0.92'

    # a check: unanswered, wrong type, wrong, right; and right again from a copy at the very top
    c = "check_answer('leak-find'"
    assert 'Your turn.' in n.shown(n.cell(c))
    answer = lambda a: n.run(c, f"{c}, {a}, table=table)")
    assert 'should be a list of patient names' in answer('3')
    assert 'on one side only' in answer("['p', 'r']")
    assert '✓ Right.' in answer("['p', 'q']")
    n.command('notebook:copy-cell')
    n.cell('import numpy').click()
    n.command('notebook:paste-cell-below')
    assert n.page.locator('.jp-InputArea', has_text=c).count() == 2
    assert '✓ Right.' in n.run(c)

    # hints: the second can be seen only when the first is open
    h = n.cell('hint(')
    one, two = (h.get_by_text(f'Hint {i} of 3') for i in (1, 2))
    assert one.is_visible() and not two.is_visible()
    one.click(); assert two.is_visible()
    two.click(); h.get_by_text('A solution').click()
    assert h.locator('pre').last.is_visible()
    assert n.errors() == []
    n.page.wait_for_timeout(500)
    n.shot('tiny-worked')
    n.command('apputils:change-theme', theme='JupyterLab Dark')
    n.page.wait_for_timeout(1000)
    n.shot('tiny-dark')
    n.command('apputils:change-theme', theme='JupyterLab Light')
    n.leave()

    # opened again, and nothing run: stills and not error messages
    n = lab('tiny.ipynb')
    d = n.cell('dial(')
    d.get_by_text('A still: share = 0.3').wait_for()
    assert d.locator('img:visible').count() == 1 and n.errors() == []
    n.page.wait_for_timeout(1000)
    for t in ('Error displaying widget', 'Loading widget'): assert n.page.get_by_text(t).locator('visible=true').count() == 0
    n.shot('tiny-again')
    n.leave()


def work(lab, name, choose, question, wrong, right, capsys):
    "Open a lesson, run all of it, commit to a prediction, turn the dial, answer a check."
    n = lab(name, height=2400)
    n.run_all()
    assert n.errors() == []
    ask = n.cell('predict(')
    choose(ask)
    ask.get_by_role('button', name='Commit').click()
    ask.get_by_text('You predicted').wait_for()
    assert 'You predicted' in n.run('recall(')
    d = n.cell('dial(')
    ms = [n.press(d, 'ArrowLeft' if i % 2 else 'ArrowRight') for i in range(7)]
    with capsys.disabled(): print(f'\n[{name}: {statistics.median(ms):.0f} ms from key to picture, median of {len(ms)}; longest {max(ms):.0f}]')
    assert d.locator('img:visible').count() == 1
    c = f"check_answer('{question}'"
    source = n.cell(c).locator('.cm-content').inner_text()
    assert 'Your turn.' in n.shown(n.cell(c))
    assert '✗ Not yet.' in n.run(c, source.replace('answer = ...', wrong))
    assert '✓ Right.' in n.run(c, source.replace('answer = ...', right))
    assert n.errors() == []
    for i, part in enumerate(['predict(', 'dial(', c]):
        n.cell(part).scroll_into_view_if_needed(); n.page.wait_for_timeout(300)
        n.shot(f'{name[:2]}-{i}')
    n.leave()

def test_baselines(lab, capsys):
    def choose(ask):
        ask.locator('.noUi-handle').focus()
        for _ in range(12): ask.page.keyboard.press('ArrowRight')
    work(lab, '01_baselines.ipynb', choose, 'leak-find', "answer = ['patient000']",
         "answer = set(tidied.group[tidied.split == 'train']) & set(tidied.group[tidied.split == 'valid'])", capsys)

def test_learning_rate(lab, capsys):
    work(lab, '03_learning_rate.ipynb', lambda ask: ask.get_by_role('button', name='3 to 10').click(), 'lr-cost', 'answer = n_epochs*n_batches/found.steps',
         'answer = found.steps/(n_epochs*n_batches)', capsys)

def test_transfer(lab, capsys):
    work(lab, '02_transfer.ipynb', lambda ask: ask.get_by_role('button', name='finetune').click(), 'frozen-count', 'answer = n_parameters(model)',
         'answer = sum(p.numel() for p in model.head.parameters())', capsys)

def test_look(lab, capsys):
    work(lab, '04_look.ipynb', lambda ask: ask.get_by_role('button', name='240 images, a third wrong').click(), 'look-marks', 'answer = marks.precision[0], []',
         'answer = marks.recall[0], list(marks.fault[marks.recall == 0])', capsys)

def test_segment(lab, capsys):
    def choose(ask):
        ask.locator('.noUi-handle').focus()
        for _ in range(12): ask.page.keyboard.press('ArrowRight')
    work(lab, '05_segment.ipynb', choose, 'segment-range', "answer = np.ptp(sweep['count'])", "answer = np.ptp(sweep['count'][sweep.dice >= sweep.dice.max() - .02])", capsys)
