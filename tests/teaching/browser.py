"A real JupyterLab in a real Chromium, for the tests of the lessons."
import contextlib, os, secrets, shutil, socket, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync']
# Asked of JupyterLab's own application object, which `expose_app_in_browser` gives us
IDLE = """() => { const s = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
                  return s?.kernel?.status === 'idle' && s.kernel.connectionStatus === 'connected'; }"""
# Resolves when nothing in the page has changed for so many milliseconds (after 5 seconds in any case)
STILL = """quiet => new Promise(done => {
    const begun = performance.now(), end = () => { observer.disconnect(); done(); };
    let last = begun;
    const observer = new MutationObserver(() => { last = performance.now(); });
    observer.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
    const look = () => { const now = performance.now();
        if (now - last > quiet || now - begun > 5000) end(); else setTimeout(look, 20); };
    setTimeout(look, 20); })"""
# Milliseconds from a key going down to the frame in which the cell shows another, fully decoded, picture
CHANGED = """cell => { const img = () => cell.querySelector('.jupyter-widgets img'), before = img().src;
    window.changed = new Promise((done, fail) => document.addEventListener('keydown', () => {
        const start = performance.now(), look = () => { const i = img(), t = performance.now() - start;
            if (i && i.complete && i.naturalWidth && i.src !== before) done(t);
            else if (t > 10000) fail(new Error('the picture did not change')); else requestAnimationFrame(look); };
        requestAnimationFrame(look); }, {once: true, capture: true})); }"""


@contextlib.contextmanager
def jupyter(folder, **env):
    "A JupyterLab server of its own on a free port, serving `folder`; yields its address, with the token."
    folder = Path(folder)
    home = Path(tempfile.mkdtemp(prefix='cytokit-lab-'))
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    token = secrets.token_hex(16)
    env = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
           'CYTOKIT_CACHE': str(home/'cache'),
           **{f'JUPYTER_{n}_DIR': str(home/n.lower()) for n in ('CONFIG', 'RUNTIME', 'DATA')},
           'JUPYTERLAB_SETTINGS_DIR': str(home/'settings'), 'JUPYTERLAB_WORKSPACES_DIR': str(home/'workspaces'), **env}
    for k in ('IN_TEST', 'MPLBACKEND'): env.pop(k, None)  # nobody tests inside: a student sits there
    quiet = home/'settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    whole = home/'settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings'
    whole.parent.mkdir(parents=True)
    whole.write_text('{"windowingMode": "none"}')  # else a cell that cannot be seen has no output to look for
    with open(home/'log', 'w') as log:
        p = subprocess.Popen([
            sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root',
            '--ServerApp.ip=127.0.0.1', f'--ServerApp.port={port}',
            '--ServerApp.port_retries=0', f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}',
            '--LabApp.expose_app_in_browser=True'],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd=folder)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f'http://127.0.0.1:{port}/api/status?token={token}', timeout=5).close(); break
            if p.poll() is not None: raise RuntimeError(f'JupyterLab stopped: {(home/"log").read_text()[-2000:]}')
            time.sleep(.1)
        yield f'http://127.0.0.1:{port}/lab/tree/{{}}?reset&token={token}'
    finally:
        p.terminate()
        try: p.wait(10)
        except subprocess.TimeoutExpired: p.kill(); p.wait()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def chromium():
    "A headless Chromium through Playwright."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try: yield b
        finally: b.close()


PLACE = """text => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(
    cell => cell.model.type === 'code' && cell.model.sharedModel.source.includes(text))"""

class Notebook:
    "A notebook, open in JupyterLab: in a page of its own, or beside what was open before in the page that is given."
    def __init__(self, browser, address, name, height=1600, unfold=True, page=None):
        self.page, self.own = page or browser.new_page(), page is None
        self.page.set_viewport_size(dict(width=1200, height=height))
        if self.own: self.page.goto(address.format(name))
        else: self.command('docmanager:open', path=name)
        self.page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=60_000)
        self.wait(IDLE, 60_000)
        if unfold: self.command('notebook:show-all-cell-code')  # folded code is not in the page

    def wait(self, until, timeout):
        "Wait for what the page says. Asked 20 times a second: asking at each frame has Chromium paint all the time."
        self.page.wait_for_function(until, timeout=timeout, polling=50)

    def command(self, name, **args):
        "Run one of JupyterLab's commands; returns when it has finished."
        self.page.evaluate('([c, a]) => window.jupyterapp.commands.execute(c, a).then(() => null)', [name, args])

    def run_all(self):
        self.command('notebook:run-all-cells')
        self.settle()

    def settle(self):
        "Wait until the kernel is idle and its last messages have become pixels."
        self.wait(IDLE, 600_000)
        self.still()
        self.wait(IDLE, 600_000)

    def still(self, milliseconds=100):
        "Wait until the page has stood still for so long."
        self.page.evaluate(STILL, milliseconds)

    def cell(self, text):
        "The first code cell whose source holds `text`; the page itself holds only the lines that can be seen."
        place = f'[data-windowed-list-index="{self.page.evaluate(PLACE, text)}"]'
        seen = self.page.locator('.jp-CodeCell', has=self.page.locator('.jp-InputArea', has_text=text)).first
        if seen.count() and seen.and_(self.page.locator(place)).count(): return seen
        return self.page.locator(f'.jp-Notebook .jp-Cell{place}')

    def run(self, text, source=None):
        "Run one cell, with another source if one is given; what it shows, as text."
        cell = self.cell(text)
        cell.locator('.cm-content').click()
        if source is not None:
            self.page.keyboard.press('Control+a'); self.page.keyboard.insert_text(source)
            cell = self.page.locator('.jp-CodeCell.jp-mod-active')
        self.command('notebook:run-cell')
        self.settle()
        return self.shown(cell)

    def shown(self, cell): return '\n'.join(cell.locator('.jp-OutputArea-output:visible').all_inner_texts())

    def press(self, cell, key='ArrowRight', n=0):
        "Press a key on the n-th slider of a cell; milliseconds until its picture has changed on the screen."
        cell.locator('.noUi-handle').nth(n).focus()
        cell.evaluate(CHANGED)
        self.page.keyboard.press(key)
        return self.page.evaluate('window.changed')

    def errors(self):
        "Tracebacks, warnings on stderr and widgets that failed."
        kinds = '[data-mime-type*="stderr"], [data-mime-type*="jupyter.error"], .jupyter-widgets-error-widget'
        return self.page.locator(kinds).all_inner_texts()

    def broken(self):
        "What can be seen of widgets that lost their model or their kernel."
        seen = [self.page.get_by_text(t).locator('visible=true')
                for t in ('Error displaying widget', 'model not found', 'Loading widget')]
        seen.append(self.page.locator('.jupyter-widgets-disconnected:visible'))
        return [t for s in seen for t in s.all_inner_texts()]

    def restart(self):
        "Restart the kernel; the page stays as it is."
        self.page.evaluate('window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()')
        self.wait("() => document.querySelector('.jupyter-widgets-disconnected')", 60_000)
        self.settle()

    def shot(self, name, cell=None):
        "Keep a screenshot, with this cell in view, where the variable CYTOKIT_SHOTS names a folder."
        if folder := os.environ.get('CYTOKIT_SHOTS'):
            if cell: cell.scroll_into_view_if_needed()
            self.still(300)
            self.page.screenshot(path=str(Path(folder)/f'{name}.png'))

    def leave(self):
        "Save, stop the kernel, close."
        self.command('docmanager:save')
        self.page.evaluate('window.jupyterapp.shell.currentWidget.sessionContext.shutdown()')
        if self.own: self.page.close()
        else:
            self.command('application:close')
            self.page.wait_for_selector('.jp-Notebook', state='detached', timeout=60_000)
