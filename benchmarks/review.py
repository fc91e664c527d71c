"""The review board in a real JupyterLab and Chromium: 200 images by keyboard, a kernel that is killed in the middle,
two boards on one plan, an edit by hand, and 30,000 images. `python benchmarks/review.py` writes results/review.json; it
needs JupyterLab, Playwright and Chromium."""
import json, os, platform, shutil, signal, statistics, sys, time
from pathlib import Path
from tempfile import mkdtemp
import nbformat, numpy as np, pandas as pd
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/'tests/teaching'))
from browser import IDLE, Notebook, chromium, jupyter  # noqa: E402
from cytokit.data.synthetic import make_cells  # noqa: E402
from cytokit.quality.plans import PlanFile  # noqa: E402
from cytokit.teaching.review_images import review_subject# noqa: E402

N = 200
CODE = """from cytokit.teaching.review import review
import os, pandas as pd
table = pd.read_csv('table.csv')
board = review(table, plan='plan.csv', by={by!r})
print('kernel', os.getpid())
board"""
# From the time stamp of the key to the frame after the one in which another image has the selection, fully decoded
WATCH = """() => { window.times = []
    const chosen = () => document.querySelector('.cytokit-review [aria-selected=true]')
    document.addEventListener('keydown', event => {
        const before = chosen()?.dataset.number
        const look = () => { const now = chosen(), image = now?.querySelector('img')
            if (now && now.dataset.number !== before && image?.complete && image.naturalWidth)
                requestAnimationFrame(() => window.times.push(performance.now() - event.timeStamp))
            else if (performance.now() - event.timeStamp > 20000) window.times.push(NaN)
            else requestAnimationFrame(look) }
        requestAnimationFrame(look) }, {capture: true}) }"""
WAITING = """() => ![...document.querySelectorAll('.cytokit-review .mark')].some(
    e => e.textContent.match(/…|not saved/)) && !Object.keys(localStorage).some(k => k.startsWith('cytokit-review'))"""
KEYS = {'Space': ('keep', ''), 'Delete': ('drop', ''), '1': ('relabel', 'long'), '2': ('relabel', 'round')}


def make_set(home):
    "16-bit images of cells, and a table of them."
    (home/'images').mkdir()
    rows = []
    for i in range(N + 4):
        cells, _ = make_cells(i, size=256, n_cells=30)
        Image.fromarray(cells.astype('u2')).save(home/f'images/{i:03d}.png')
        rows.append(dict(image=f'images/{i:03d}.png', target='long' if i % 3 else 'round', words='look at it'))
    pd.DataFrame(rows).to_csv(home/'table.csv', index=False)
    cell = nbformat.v4.new_code_cell
    for name in ('first', 'second'):
        book = nbformat.v4.new_notebook(cells=[cell(CODE.format(by=name))])
        book.metadata.kernelspec = dict(name='python3', display_name='python3', language='python')
        nbformat.write(book, home/f'{name}.ipynb')
    return rows


def open_board(browser, address, name):
    "A notebook with its board on the screen."
    notebook = Notebook(browser, address, f'{name}.ipynb', height=1000)
    return start(notebook), notebook


def start(notebook):
    "Run the cell; seconds until the first image is seen."
    begun = time.perf_counter()
    notebook.command('notebook:run-all-cells')
    notebook.page.wait_for_selector('.cytokit-review [aria-selected=true] img', timeout=120_000)
    took = time.perf_counter() - begun
    notebook.page.wait_for_timeout(1500)
    notebook.page.locator('.cytokit-review .grid').focus()
    return took


def kernel_of(notebook):
    "The process of a notebook's kernel, as its cell printed it."
    text = notebook.page.locator('.jp-OutputArea-output', has_text='kernel').last.inner_text()
    return int(text.split()[1])


def decide(notebook, row, key, made, pause):
    "Press a key, and note what it must have decided."
    notebook.page.keyboard.press(key)
    action, to = KEYS[key]
    made[row['image']] = ('keep', '') if to == row['target'] else (action, to)
    notebook.page.wait_for_timeout(pause)


def wrong(plan, made):
    "The images of which the plan says something else than was decided."
    file = PlanFile(plan)
    got = {image: (file.state(image).action, file.state(image).to) for image in made}
    return [image for image in made if got[image] != made[image]]


def dismiss(notebook):
    "Close JupyterLab's dialog that the kernel died, as a person would; until then it takes the keys."
    notebook.page.locator('.jp-Dialog button.jp-mod-accept').click(timeout=60_000)
    notebook.page.locator('.cytokit-review .grid').focus()


def saved(notebook):
    "Wait until nothing is waiting in the browser."
    notebook.page.wait_for_function(WAITING, timeout=60_000)


def long_review(browser, address, home, rows, pause):
    "200 images with one hand; the kernel is killed after 100, and 8 keys are pressed before it is back."
    keys = np.random.default_rng(0).choice(list(KEYS), N, p=[.6, .2, .1, .1])
    opened, n = open_board(browser, address, 'first')
    n.page.evaluate(WATCH)
    made, begun = {}, time.perf_counter()
    for row, key in zip(rows[:100], keys): decide(n, row, key, made, pause)
    os.kill(kernel_of(n), signal.SIGKILL)
    dismiss(n)
    for row, key in zip(rows[100:108], keys[100:]): decide(n, row, key, made, pause)
    n.page.wait_for_timeout(3000)
    warned = n.page.locator('.cytokit-review .warning:visible').all_inner_texts()
    n.page.screenshot(path=home/'killed.png')
    not_yet = len(wrong(home/'plan.csv', made))
    n.page.wait_for_function(IDLE, timeout=60_000)
    reopened = start(n)
    saved(n)
    n.page.wait_for_timeout(1000)
    at = n.page.locator('.cytokit-review [aria-selected=true]').get_attribute('data-number')
    after = len(wrong(home/'plan.csv', made))
    for row, key in zip(rows[108:N], keys[108:]): decide(n, row, key, made, pause)
    seconds = time.perf_counter() - begun
    saved(n)
    times = n.page.evaluate('window.times')
    n.page.screenshot(path=home/'done.png')
    lost = wrong(home/'plan.csv', made)
    return n, made, dict(
        images=N, keys=len(times), median_ms=statistics.median(times), p95_ms=float(np.percentile(times, 95)),
        worst_ms=max(times), seconds=seconds, pause_ms=pause, opened_seconds=opened, reopened_seconds=reopened,
        warning=warned, unsaved_while_dead=not_yet, continued_at=int(at), wrong_after_restart=after, lost=len(lost))


def two_boards(browser, address, home, rows, first, made):
    "A second kernel and an editor change the same plan."
    _, second = open_board(browser, address, 'second')
    for i in range(4):
        for notebook, key in ((first, 'Delete'), (second, 'Space')):
            notebook.page.bring_to_front()
            notebook.page.locator('.cytokit-review .grid').focus()
            notebook.page.keyboard.press('Home')
            for _ in range(2*i + (notebook is second)): notebook.page.keyboard.press('ArrowRight')
            decide(notebook, rows[2*i + (notebook is second)], key, made, 200)
    saved(second)
    text = (home/'plan.csv').read_text().splitlines()
    at = next(i for i, line in enumerate(text) if line.startswith('images/050.png'))
    text[at] = ','.join(['images/050.png', 'relabel', 'by hand', *text[at].split(',', 3)[3:]])
    (home/'plan.csv').write_text('\n'.join(text) + '\n')
    made['images/050.png'] = 'relabel', 'by hand'
    second.page.keyboard.press('Home')
    decide(second, rows[0], 'Space', made, 500)
    saved(second)
    return dict(decisions=9, edited_by_hand=1, lost=len(wrong(home/'plan.csv', made)))


def many(n=30_000):
    "How long a board of many images takes to open, and a key in it."
    home = Path(mkdtemp())
    try:
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(home/'0.png')
        for i in range(1, n): os.link(home/'0.png', home/f'{i}.png')
        lines = [f'{i}.png,keep,,blurred,"it is blurred; fine structure is missing"\n' for i in range(n)]
        (home/'cytokit_plan.csv').write_text('image,action,to,check,reason\n' + ''.join(lines))
        import resource
        from cytokit.teaching.review import Board
        begun, busy = time.perf_counter(), time.process_time()
        board = Board(review_subject(home))
        board.setup()
        board.answer(dict(kind='images', numbers=list(range(12))))
        opened, busy, times = time.perf_counter() - begun, time.process_time() - busy, []
        for i in range(20):
            event = dict(id=str(i), image=board.names[i*n//20], action='drop', to='', age=0, seen=None)
            begun = time.perf_counter()
            board.answer(dict(kind='save', events=[event]))
            times.append(1000*(time.perf_counter() - begun))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
        seconds = dict(opened_seconds=opened, opened_cpu_seconds=busy)
        return dict(images=n, **seconds, save_median_ms=statistics.median(times), peak_mb=peak)
    finally: shutil.rmtree(home)


def main(pause=float(os.environ.get("PAUSE", 250))):
    home = Path(mkdtemp())
    rows = make_set(home)
    load = os.getloadavg()[0]
    with jupyter(home) as address, chromium() as browser:
        first, made, long = long_review(browser, address, home, rows, pause)
        boards = two_boards(browser, address, home, rows, first, made)
    result = dict(review=long, two_boards=boards, many=many(), machine=platform.platform(), cores=os.cpu_count(),
                  load_before=load)
    print(json.dumps(result, indent=1))
    (HERE/'results/review.json').write_text(json.dumps(result, indent=1) + '\n')
    for name in ('killed', 'done'): shutil.copy(home/f'{name}.png', '/tmp')
    shutil.rmtree(home)


if __name__ == '__main__': main()
