"A real JupyterLab in a real Chromium, for the tests of the lessons."
import contextlib, json, os, secrets, shutil, socket, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync']
# Ways to ask the page: JupyterLab's own application object, which `expose_app_in_browser` gives us
IDLE = """() => { const s = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
                  return s?.kernel?.status === 'idle' && s.kernel.connectionStatus === 'connected'; }"""
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
    env = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}', 'CYTOKIT_CACHE': str(home/'cache'),
           **{f'JUPYTER_{n}_DIR': str(home/n.lower()) for n in ('CONFIG', 'RUNTIME', 'DATA')},
           'JUPYTERLAB_SETTINGS_DIR': str(home/'settings'), 'JUPYTERLAB_WORKSPACES_DIR': str(home/'workspaces'), **env}
    for k in ('IN_TEST', 'MPLBACKEND'): env.pop(k, None)  # nobody tests inside: a student sits there
    quiet = home/'settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with open(home/'log', 'w') as log:
        p = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1', f'--ServerApp.port={port}',
            '--ServerApp.port_retries=0', f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}', '--LabApp.expose_app_in_browser=True'],
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


class Notebook:
    "An open notebook."
    def __init__(self, browser, address, name, height=1600, dark=False):
        self.page = browser.new_page(viewport=dict(width=1200, height=height), color_scheme='dark' if dark else 'light')
        self.page.goto(address.format(name))
        self.page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=60_000)
    def command(self, name): return self.page.evaluate('c => window.jupyterapp.commands.execute(c).then(() => null)', name)
    def idle(self, seconds=60): self.page.wait_for_function(IDLE, timeout=1000*seconds)
    def run_all(self, seconds=180):
        self.page.wait_for_function(IDLE, timeout=60_000)
        self.page.set_default_timeout(1000*seconds)
        self.command('notebook:run-all-cells')
        self.page.set_default_timeout(30_000)
        self.idle()
    def save(self): self.command('docmanager:save')
    def cell(self, text):
        "The code cell whose source contains `text`."
        return self.page.locator('.jp-CodeCell', has=self.page.locator('.jp-InputArea', has_text=text)).first
    def outputs(self, text): return self.cell(text).locator('.jp-OutputArea')
    def errors(self): return self.page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
    def slider(self, cell, n=0): return cell.locator('.noUi-handle').nth(n)
    def press(self, cell, key='ArrowRight', n=0):
        "Press a key on a slider; milliseconds until the picture of the cell has changed on the screen."
        self.slider(cell, n).focus()
        cell.evaluate(CHANGED)
        self.page.keyboard.press(key)
        return self.page.evaluate('window.changed')
    def shot(self, path, cell=None):
        (cell or self.page).screenshot(path=str(path)); return path
    def close(self): self.page.close()
