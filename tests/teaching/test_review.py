"The review board: its functions without a browser, and once in a real JupyterLab with a kernel that is killed."
import os, signal, subprocess, sys, time
from pathlib import Path
import nbformat, numpy as np, pandas as pd, pytest
from PIL import Image
from playwright.sync_api import expect
from browser import CHROMIUM, IDLE, Notebook, chromium, jupyter
from cytokit.cli import main
from cytokit.core import InputError
from cytokit.data.datasets import apply_plan
from cytokit.quality.plans import Change, PlanFile
from cytokit.teaching.review import Board, review
from cytokit.teaching.review_images import review_subject

NAMES = ['a b', 'ünï, "quoted"', "it's <b>", '=1+1']


@pytest.fixture
def images(tmp_path):
    "Sixteen images of four classes with odd names, in a table."
    random = np.random.default_rng(0)
    rows = []
    for i in range(16):
        Image.fromarray(random.integers(0, 60_000, (40, 50)).astype('u2')).save(tmp_path/f'{i:02d}.png')
        rows.append(dict(image=str(tmp_path/f'{i:02d}.png'), target=NAMES[i % 4]))
    return pd.DataFrame(rows)

def board_of(images, tmp_path, by='ana'):
    return Board(review_subject(images, tmp_path/'plan.csv'), by)

def event(board, number, action, to='', age=0, seen=None):
    image = None if number is None else board.names[number]
    return dict(id=f'{number} {time.time_ns()}', image=image, action=action, to=to, age=age, seen=seen)

def save(board, *args, **kwargs):
    reply, _ = board.answer(dict(kind='save', events=[event(board, *args, **kwargs)]))
    return reply


def test_what_is_decided_is_what_train_reads(images, tmp_path):
    board = board_of(images, tmp_path)
    for i, name in enumerate(NAMES): save(board, i, 'relabel', name)
    save(board, 4, 'drop')
    save(board, 5, 'keep')
    done = apply_plan(images, tmp_path/'plan.csv')
    assert len(done) == 15 and list(done['target'][:4]) == NAMES
    again = board_of(images, tmp_path)
    assert again.reviewed() == 6 and again.setup()['start'] == 6

def test_every_decision_is_taken_back_in_turn_after_a_restart(images, tmp_path):
    board = board_of(images, tmp_path)
    steps = [(0, 'drop', ''), (13, 'keep', ''), (0, 'relabel', NAMES[1]), (5, 'drop', '')]
    for step in steps: save(board, *step)
    again, other = board_of(images, tmp_path), board_of(images, tmp_path, 'ben')
    assert save(other, None, '')['said'] == 'there is nothing to take back'  # ben decided nothing
    for number, *_ in reversed(steps): assert save(again, None, '')['go'] == number
    assert again.reviewed() == 0 and 'nothing' in save(again, None, '')['said']
    assert len(apply_plan(images, tmp_path/'plan.csv')) == 16

@pytest.mark.parametrize('clock', [[10]*4, [10, 9, 8, 7]], ids=['keys within a millisecond', 'set back'])
def test_the_order_of_decisions_does_not_hang_on_the_clock(images, tmp_path, clock):
    board = board_of(images, tmp_path)
    steps = [(0, 'drop', ''), (13, 'keep', ''), (0, 'relabel', NAMES[1]), (5, 'drop', '')]
    for step, now in zip(steps, clock): assert board.save([event(board, *step)], now)['said'] == ''
    again = board_of(images, tmp_path)
    assert [again.save([event(again, None, '')])['go'] for _ in steps] == [5, 0, 13, 0]

def test_a_decision_about_what_was_seen_is_taken_whatever_the_clocks_say(images, tmp_path):
    ben, ana = board_of(images, tmp_path, 'ben'), board_of(images, tmp_path)
    ben.save([event(ben, 3, 'drop')], now=2e9)  # his computer is some years ahead
    ana.plan.sync()
    reply = ana.save([event(ana, 3, 'keep', seen=ana.item(3)['state'])], now=1.9e9)
    assert reply['said'] == '' and ana.plan.state(ana.paths[3]).action == 'keep'

def test_the_later_decision_stays(images, tmp_path):
    ana, ben = board_of(images, tmp_path), board_of(images, tmp_path, 'ben')
    save(ben, 3, 'drop')
    reply = save(ana, 3, 'keep', age=60_000)  # her key is a minute old: her kernel was busy
    assert 'changed by ben meanwhile' in reply['said'] and reply['states'][3]['action'] == 'drop'
    save(ana, 3, 'keep')
    assert PlanFile(tmp_path/'plan.csv').state(ana.paths[3]).action == 'keep'

def test_a_late_key_does_not_undo_a_change_by_hand(images, tmp_path):
    plan = tmp_path/'plan.csv'
    plan.write_text('image,action,to\n00.png,drop,\n01.png,drop,\n')
    board = board_of(images, tmp_path)
    seen = dict(action='drop', to='', reviewed='', by='')
    plan.write_text(f'image,action,to\n00.png,relabel,{NAMES[0]}\n01.png,drop,\n')
    for number in (0, 1): save(board, number, 'keep', age=60_000, seen=seen)
    assert [board.plan.state(board.paths[i]).action for i in (0, 1)] == ['relabel', 'keep']

DECIDE = """import sys, time
from cytokit.quality.plans import Change, PlanFile
file = PlanFile(sys.argv[1], sys.argv[2])
for i in range(int(sys.argv[3])): file.record([Change(f'{sys.argv[2]}{i}.png', 'drop', '', time.time())])"""

def begin(plan, by, n):
    "A process that decides about n images."
    return subprocess.Popen([sys.executable, '-c', DECIDE, str(plan), by, str(n)])

def test_many_processes_lose_nothing(tmp_path):
    plan = tmp_path/'plan.csv'
    for process in [begin(plan, by, 15) for by in 'ab']: assert process.wait() == 0
    assert PlanFile(plan).decided() == {str(tmp_path/f'{by}{i}.png') for by in 'ab' for i in range(15)}

def test_a_process_that_is_killed_leaves_a_whole_plan_and_no_lock(tmp_path):
    plan = tmp_path/'plan.csv'
    process = begin(plan, 'a', 100_000)
    while not plan.exists(): time.sleep(.05)
    time.sleep(.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    file = PlanFile(plan, 'b')
    n = len(file.decided())
    assert n and file.decided() == {str(tmp_path/f'a{i}.png') for i in range(n)}
    assert file.record([Change('x.png', 'keep', '', time.time())]) == ['']

def test_images_that_are_gone_or_broken_are_shown_and_can_be_dropped(images, tmp_path):
    Path(images['image'][0]).unlink()
    Path(images['image'][1]).write_bytes(b'rubbish')
    board = board_of(images, tmp_path)
    reply, files = board.answer(dict(kind='images', numbers=[0, 1, 2]))
    assert [bool(item['error']) for item in reply['items']] == [True, True, False]
    assert [bool(data) for data in files] == [False, False, True]
    assert str(tmp_path) not in reply['items'][0]['error']
    for i in (0, 1): save(board, i, 'drop')
    assert board.answer(dict(kind='large', number=0))[1][0].startswith(b'\x89PNG')
    assert '⚠' in board.still() and '&lt;b&gt;' in board.still() and '<b>"' not in board.still()

def test_what_a_browser_cannot_do(images, tmp_path):
    board = board_of(images, tmp_path)
    assert 'a class of the board' in save(board, 0, 'relabel', 'nonsense')['said']
    assert board.answer(dict(kind='images', numbers=[-1, 999]))[0]['items'] == []
    assert board.answer(dict(kind='save', events=[dict(event(board, 0, 'keep'), age='now')]))[0]['said']
    assert not (tmp_path/'plan.csv').exists() or board.reviewed() == 0

def test_a_plan_that_cannot_be_written_keeps_the_keys_in_the_browser(images, tmp_path):
    board = board_of(images, tmp_path)
    save(board, 0, 'keep')
    good = (tmp_path/'plan.csv').read_text()
    (tmp_path/'plan.csv').write_text(good + 'half a li')
    key = dict(kind='save', events=[event(board, 1, 'drop')])
    for _ in range(2): assert board.answer(key)[0]['kind'] == 'failed'
    assert (tmp_path/'plan.csv').read_text().endswith('half a li')
    (tmp_path/'plan.csv').write_text(good)
    assert board.answer(key)[0]['said'] == '' and board.plan.state(board.paths[1]).action == 'drop'

@pytest.mark.parametrize('make, words', [
    (lambda folder: folder/'nowhere', 'no such folder'),
    (lambda folder: folder, 'no image in it'),
    (lambda folder: pd.DataFrame(dict(file=['a'])), 'plan='),
])
def test_bad_input_is_one_line(tmp_path, make, words):
    with pytest.raises(InputError, match=words) as e: review(make(tmp_path))
    assert '\n' not in str(e.value)

def test_more_classes_than_keys(images, tmp_path):
    images['image'], images['target'] = images['image'][0], ''
    many = pd.concat([images]*3, ignore_index=True).assign(target=[f'class {i}' for i in range(48)])
    with pytest.raises(InputError, match='48 classes, and there are keys for 36'): review(many, tmp_path/'plan.csv')
    named = review(many, tmp_path/'plan.csv', names=['class 1', 'class 2'])
    assert named.board.subject.classes == ['class 1', 'class 2']

def test_the_command_writes_a_notebook_and_does_not_hang(images, tmp_path, capsys, monkeypatch):
    images.to_csv(tmp_path/'table.csv', index=False)
    for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'BROWSER'): monkeypatch.delenv(name, raising=False)
    assert main(['review', str(tmp_path/'table.csv'), '--all']) == 0
    assert 'jupyter lab' in capsys.readouterr().out
    book = nbformat.read(tmp_path/'cytokit_plan_review.ipynb', 4)
    compile(book.cells[1].source, 'board', 'exec')
    nbformat.validate(book)


CELL = """from cytokit.teaching.review import review
import os, pandas as pd
print('kernel', os.getpid())
review(pd.read_csv('table.csv'), plan='plan.csv', names=['ill', 'well'], by='ana')"""

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "JupyterLab with a notebook that reviews thirty images."
    pytest.importorskip('playwright')
    pytest.importorskip('jupyterlab')
    if not CHROMIUM: pytest.skip('no Chromium on this machine')
    folder = tmp_path_factory.mktemp('review')
    random = np.random.default_rng(0)
    for i in range(30): Image.fromarray(random.integers(0, 255, (48, 48)).astype('u1')).save(folder/f'{i:02d}.png')
    pd.DataFrame(dict(image=[f'{i:02d}.png' for i in range(30)], target='ill')).to_csv(folder/'table.csv', index=False)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    book.metadata.kernelspec = dict(name='python3', display_name='python3', language='python')
    nbformat.write(book, folder/'ana.ipynb')
    with jupyter(folder) as address, chromium() as browser: yield folder, browser, address

def start(notebook):
    "Run the board, and wait for the images of its page: on one that is coming nothing is decided."
    notebook.command('notebook:run-all-cells')
    notebook.page.wait_for_selector('.cytokit-review [aria-selected=true] img', timeout=60_000)
    expect(notebook.page.locator('.cytokit-review .grid').get_by_text('coming …')).to_have_count(0, timeout=60_000)
    notebook.page.locator('.cytokit-review .grid').focus()

def wait_saved(notebook, n):
    notebook.page.get_by_text(f'{n} of 30 reviewed').wait_for(timeout=30_000)

def test_keys_in_a_browser(lab):
    folder, browser, address = lab
    ana = Notebook(browser, address, 'ana.ipynb', height=1000)
    start(ana)
    for key in ('Space', 'd', '2', '1', 'Delete'): ana.page.keyboard.press(key)
    wait_saved(ana, 5)
    file = PlanFile(folder/'plan.csv')
    said = [(file.state(f'{i:02d}.png').action, file.state(f'{i:02d}.png').to) for i in range(5)]
    assert said == [('keep', ''), ('drop', ''), ('relabel', 'well'), ('keep', ''), ('drop', '')]
    assert ana.errors() == []
    ana.page.keyboard.press('Shift+Space')  # the rest of the page, and on to the next
    wait_saved(ana, 12)
    assert ana.page.locator('.cytokit-review [aria-selected=true]').get_attribute('data-number') == '12'
    ana.page.keyboard.press('Control+z')
    wait_saved(ana, 11)
    assert ana.page.get_by_role('option', selected=True).locator('.mark').inner_text() == '–'
    ana.page.get_by_role('button', name='Drop').click()
    wait_saved(ana, 12)
    ana.shot('review')

    # somebody edits the plan by hand, and another kernel decides
    text = (folder/'plan.csv').read_text()
    (folder/'plan.csv').write_text(text.replace('00.png,keep', '00.png,drop'))
    PlanFile(folder/'plan.csv', 'ben').record([Change('29.png', 'drop', '', time.time())])
    ana.page.keyboard.press('Space')
    wait_saved(ana, 14)
    assert file.sync() and [file.state(f'{i}.png').action for i in ('00', '12', '29')] == ['drop', 'keep', 'drop']

    # the kernel is killed; what is typed meanwhile is told, kept, and saved by the next one
    printed = ana.page.locator('.jp-OutputArea-output', has_text='kernel').first.inner_text()
    os.kill(int(printed.split()[1]), signal.SIGKILL)
    ana.page.locator('.jp-Dialog button.jp-mod-accept').click(timeout=30_000)
    ana.page.locator('.cytokit-review .grid').focus()
    for _ in range(3): ana.page.keyboard.press('d')
    ana.page.get_by_text('3 decisions are not saved yet').wait_for(timeout=10_000)
    assert '13.png' not in (folder/'plan.csv').read_text()
    ana.page.wait_for_function(IDLE, timeout=60_000)
    start(ana)
    wait_saved(ana, 17)
    assert [PlanFile(folder/'plan.csv').state(f'{i}.png').action for i in (13, 14, 15)] == ['drop']*3
    ana.page.locator('.cytokit-review [aria-selected=true][data-number="16"]').wait_for(timeout=10_000)
    ana.page.keyboard.press('Control+z')  # of the kernel before
    wait_saved(ana, 16)
