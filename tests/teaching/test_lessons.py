"The lessons' widgets and checks, worked by keyboard and mouse in a real JupyterLab."
import base64, io, json, shutil, statistics, subprocess
from pathlib import Path
import nbformat, pytest
from PIL import Image
from browser import CHROMIUM, Notebook, chromium, jupyter
from cytokit.teaching.exercises import QUESTIONS

pytest.importorskip('playwright')
pytest.importorskip('jupyterlab')
pytestmark = pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine')

ROOT = Path(__file__).parents[2]
LESSONS = sorted(p.name for p in ROOT.joinpath('nbs/lessons').glob('*.ipynb'))
LESSON = ['''
import numpy as np, pandas as pd, matplotlib.pyplot as plt
from cytokit.teaching.widgets import explore, ask_prediction, show_prediction
from cytokit.teaching.exercises import check_answer, hint, solution
table = pd.DataFrame(dict(target=list('aabab'), group=list('pqrpq'), split=['train']*3 + ['valid']*2))
''', '''
ask_prediction('tiny-points', 'How many points does a split by image flatter?', (0, 40, 1))
''', '''
ask_prediction('tiny-split', 'Which split is honest?', ['by image', 'by augmented copy', 'by patient'])
''', '''
show_prediction('tiny-split', 'by patient')
''', '''
picture = np.random.default_rng(0).random((64, 64))
def lab(share=.3, split='by image'):
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    left.imshow(picture*share, cmap='gray', vmin=0, vmax=1); left.set(xlabel='x (pixels)', ylabel='y (pixels)')
    fig.subplots_adjust(bottom=.2)
    right.bar(['image', 'copy', 'patient'], [.9, .8, .6 + share/4], yerr=.03, color='#0072B2')
    right.set(ylabel='balanced accuracy', ylim=(0, 1), title=split)
    return fig
explore(lab, 'Three splits and what they score', share=(0., 1., .02), split=['by image', 'by patient'])
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
''', '''
from cytokit.core import progress
for i in progress(range(5), 'Walking'): time.sleep(.3)
''', '''
lab(.5).axes[0].get_title();
''']


def make_copies(folder):
    "What `make lab` does before it starts a server, in a copy of the project."
    shutil.copy(ROOT/'Makefile', folder)
    subprocess.run(['make', '-o', 'setup', 'lessons'], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder/'.venv/etc/ipython/startup'

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lab')
    shutil.copytree(make_copies(folder), folder/'ipython/profile_default/startup')
    cells = [nbformat.v4.new_code_cell(s.strip()) for s in LESSON]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell('# A tiny lesson'), *cells],
        metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python'))),
        folder/'lessons/tiny.ipynb')
    with jupyter(folder, IPYTHONDIR=str(folder/'ipython')) as address, chromium() as browser:
        context = browser.new_context()
        page = None
        def open_notebook(name, fresh=False, **kw):
            "In the JupyterLab that is open, as a student does; in a new one if asked, or if a test before broke off."
            nonlocal page
            if fresh or (page and page.locator('.jp-Notebook').count()):
                page.close()
                page = None
            n = Notebook(context, address, f'lessons/{name}', page=page, **kw)
            n.own, page = False, n.page
            n.file = folder/'lessons'/name
            return n
        yield open_notebook


def test_student_copies(tmp_path):
    make_copies(tmp_path)
    for name in LESSONS:
        text = (tmp_path/'lessons'/name).read_text()
        copy = json.loads(text)
        assert not any(c.get('outputs') for c in copy['cells']), name
        assert 'solution(' not in text and 'hint(' in text, name
        prose = [''.join(c['source']) for c in copy['cells'] if c['cell_type'] == 'markdown']
        links = [w.split(')')[0] for text in prose for w in text.split('](')[1:]]
        for link in links: assert link.startswith(('https://', '#')) or link in LESSONS, (name, link)
    mine = tmp_path/'lessons'/LESSONS[0]
    mine.write_text('the work of a student')
    make_copies(tmp_path)
    assert mine.read_text() == 'the work of a student'
    assert sorted(p.name for p in mine.parent.iterdir()) == LESSONS  # nothing half-made lies about


def test_widgets(lab, capsys):
    n = lab('tiny.ipynb')
    n.run_all()
    assert n.errors() == []
    n.shot('tiny-run')

    # a prediction: nothing chosen, chosen, kept, recalled beside the result, still there when the cell is run again
    ask = n.cell('Which split is honest')
    assert 'saved no prediction' in n.shown(n.cell('show_prediction('))
    ask.get_by_role('button', name='Save').click()
    ask.get_by_text('Choose one first.').wait_for()
    ask.get_by_role('button', name='by image').click()
    ask.get_by_role('button', name='Save').click()
    ask.get_by_text('You predicted by image').wait_for()
    assert 'You predicted “by image”. It was “by patient”.' in n.run('show_prediction(')
    assert 'You predicted by image' in n.run('Which split is honest')

    # the dial: by key and by button; one picture, in the place of its still, with alternative text
    d = n.cell('explore(')
    ms = [n.press(d) for _ in range(11)]
    with capsys.disabled():
        print(f'\n[dial: {statistics.median(ms):.0f} ms from key to picture, '
              f'median of {len(ms)}; longest {max(ms):.0f}]')
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
    def darkest_and_brightest():
        data = picture.get_attribute('src').split(',')[1]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert('L').getextrema()
    for _ in range(20):  # the kernel is idle before a slow machine has drawn the last one
        if darkest_and_brightest() == (0, 255): break
        n.page.wait_for_timeout(250)
    assert darkest_and_brightest() == (0, 255) and d.locator('.widget-readout').inner_text() == '0.92'

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
    n.shot('tiny-worked')
    n.command('apputils:change-theme', theme='JupyterLab Dark')
    n.shot('tiny-dark')
    n.command('apputils:change-theme', theme='JupyterLab Light')

    # the kernel is restarted: pictures and sentences in place of dead controls, and cells that say which comes first
    n.restart()
    d.get_by_text('A still: share = 0.3').wait_for()
    assert d.locator('img:visible').count() == 1 and n.broken() == []
    n.shot('tiny-restarted')
    early = n.run('lab(.5)')
    assert 'Too early.' in early
    assert 'lab is made in the cell that begins with picture = np.random.default_rng(0)' in early
    early = n.run('hint(')  # before anything has been imported
    assert 'hint is made in the cell that begins with import numpy as np' in early
    n.shot('tiny-early')
    assert n.errors() == []
    n.run('import numpy')
    n.run('explore(')
    assert d.locator('.noUi-handle:visible').count() == 1 and n.broken() == []
    n.run('lab(.5)', 'nobody_makes_this')
    assert 'NameError' in n.shown(n.page.locator('.jp-CodeCell.jp-mod-active')) and len(n.errors()) == 1
    n.run('nobody_makes_this', '1')
    n.leave()

    # opened again in a new JupyterLab, and nothing run: stills and not error messages
    n = lab('tiny.ipynb', fresh=True)
    d = n.cell('explore(')
    d.get_by_text('A still: share = 0.3').wait_for()
    assert d.locator('img:visible').count() == 1 and n.errors() == []
    n.still(1000)
    assert n.broken() == []
    assert n.shown(n.cell('Walking')).strip() == ''
    n.shot('tiny-again')
    n.leave()


# What an element says outside of code
PROSE = """e => { const copy = e.cloneNode(true);
                  copy.querySelectorAll('code').forEach(c => c.remove());
                  return copy.textContent; }"""

def questions(n):
    "Names of the questions that a lesson asks."
    cells = json.loads(n.file.read_text())['cells']
    lines = [line for c in cells if c['cell_type'] == 'code' for line in ''.join(c['source']).splitlines()]
    return [line.split("'")[1] for line in lines if line.startswith('check_answer(')]

@pytest.mark.parametrize('name', LESSONS)
def test_lesson(lab, name, capsys):
    "Run all of a lesson, predict, turn its dial, answer each question; save, close, and open it again."
    n = lab(name, height=2400)
    n.run_all()
    assert n.errors() == [] and n.broken() == []
    n.shot(f'{name[:2]}-run')

    ask = n.cell('ask_prediction(')
    if ask.locator('.noUi-handle').count():
        ask.locator('.noUi-handle').focus()
        for _ in range(12): n.page.keyboard.press('ArrowRight')
    else: ask.locator('.widget-toggle-button').last.click()
    ask.get_by_role('button', name='Save').click()
    ask.get_by_text('You predicted').wait_for()
    assert 'You predicted' in n.run('show_prediction(')

    d = n.cell('explore(')
    if d.locator('.noUi-handle').count():
        ms = [n.press(d, 'ArrowLeft' if i % 2 else 'ArrowRight') for i in range(7)]
        with capsys.disabled():
            print(f'\n[{name}: {statistics.median(ms):.0f} ms from key to picture, '
                  f'median of {len(ms)}; longest {max(ms):.0f}]')
    else:  # only choices
        before = d.locator('img:visible').get_attribute('src')
        d.locator('.widget-toggle-button:not(.mod-active)').first.click()
        n.page.wait_for_function('([c, s]) => c.querySelector("img").src !== s', arg=[d.element_handle(), before])
    assert d.locator('img:visible').count() == 1

    names = questions(n)
    assert len(names) >= 3
    for q in names:
        c = f"check_answer('{q}'"
        assert 'Your turn.' in n.shown(n.cell(c)), q
        assert '✗ Not yet.' in n.run(c, QUESTIONS[q].call.replace(', answer', ', []', 1)), q
        assert '✓ Right.' in n.run(c, QUESTIONS[q].solution), q
        h = n.cell(f"hint('{q}'")
        h.get_by_text('Hint 1 of').click()
        assert '*' not in h.locator('details').first.evaluate(PROSE), q
    assert n.errors() == []
    for i, part in enumerate(['ask_prediction(', 'explore(', f"check_answer('{names[0]}'"]):
        n.shot(f'{name[:2]}-{i}', n.cell(part))
    n.leave()

    n = lab(name, height=2400)
    n.still(500)
    assert n.errors() == [] and n.broken() == []
    assert n.cell('explore(').locator('img:visible').count() == 1
    n.shot(f'{name[:2]}-again', n.cell('explore('))
    n.leave()
