"`make setup` without a GPU: PyTorch for the CPU where its index has the pinned versions, else as the lock file says."
import os, re, socket, subprocess, sys, threading, venv, zipfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT/'.ci/install_lock.py'
LINUX = sys.platform == 'linux' and os.uname().machine == 'x86_64'
pytestmark = pytest.mark.skipif(not LINUX, reason='elsewhere PyTorch has one build')
WHOLE = ['six==1.17.0', 'nvidia-nccl-cu13==2.30.7 ; sys_platform == "linux"', 'torch==9.1.0', 'torchvision==9.2.0',
         'triton==3.9.0 ; sys_platform == "linux"']
PINS, OTHERS = ['torch==9.1.0', 'torchvision==9.2.0'], ['six==1.17.0', 'torch==9.1.0', 'torchvision==9.2.0']
LOCK = '\n'.join(WHOLE) + '\n'

class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

@contextmanager
def serving(folder):
    "The address of a server of these files."
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}'
    finally: server.shutdown()

def write_wheel(index, name, version):
    "A package with nothing in it, and its page at an index."
    folder = index/name
    folder.mkdir(parents=True, exist_ok=True)
    file = f'{name}-{version}-py3-none-any.whl'
    info = f'{name}-{version}.dist-info'
    with zipfile.ZipFile(folder/file, 'w') as wheel:
        wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        wheel.writestr(f'{info}/RECORD', '')
    (folder/'index.html').write_text(f'<a href="{file.replace("+", "%2B")}">{file}</a>')

@pytest.fixture
def index(tmp_path):
    "An index of CPU builds, with the versions of the lock file."
    write_wheel(tmp_path/'index', 'torch', '9.1.0+cpu')
    write_wheel(tmp_path/'index', 'torchvision', '9.2.0+cpu')
    return tmp_path/'index'

def decide(tmp_path, index, lock=LOCK, python=sys.executable, options=('--show',), gpu=False):
    "What the script prints, on a computer with or without the program that belongs to the driver of a GPU."
    bin = tmp_path/'bin'
    bin.mkdir(exist_ok=True)
    if gpu:
        (bin/'nvidia-smi').write_text('#!/bin/sh\n')
        (bin/'nvidia-smi').chmod(0o755)
    (tmp_path/'lock').write_text(lock)
    env = {**os.environ, 'PATH': str(bin), 'CYTOKIT_CPU_INDEX': index}
    command = [python, SCRIPT, tmp_path/'lock', *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

def listed(printed): return [line.strip() for line in printed.splitlines() if line.startswith('  ')]

def test_without_a_gpu_it_is_the_cpu_build(tmp_path, index):
    with serving(index) as address:
        printed = decide(tmp_path, address)
        assert printed.startswith(f'No NVIDIA GPU: PyTorch from {address}\n--no-deps --index-url {address}\n')
    assert listed(printed) == [*PINS, *OTHERS]

def test_with_a_gpu_it_is_the_lock_file(tmp_path, index):
    with serving(index) as address: printed = decide(tmp_path, address, gpu=True)
    assert printed.startswith('PyTorch from the package index\n') and listed(printed) == WHOLE

def test_an_index_without_the_versions_is_not_used(tmp_path, index):
    with serving(index) as address:
        printed = decide(tmp_path, address, LOCK.replace('torchvision==9.2.0', 'torchvision==9.3.0'))
        assert f'because {address} has no torchvision==9.3.0 for this Python\n' in printed and 'nvidia-nccl' in printed
        page = index/'torch/index.html'
        page.write_text(page.read_text().replace('py3-none-any', 'cp39-cp39-manylinux_2_28_x86_64'))
        assert f'because {address} has no torch==9.1.0 for this Python\n' in decide(tmp_path, address)
        (index/'torch/index.html').unlink()
        (index/'torch').rename(index/'other')
        assert 'does not answer (HTTP Error 404' in decide(tmp_path, address)

def test_an_index_that_is_not_there_is_not_used(tmp_path):
    "Nothing listens, the name is unknown, or somebody listens and says nothing."
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        port = silent.getsockname()[1]
        for address in (f'http://127.0.0.1:{port}', 'https://nowhere.invalid', 'nonsense'):
            printed = decide(tmp_path, address)
            assert f'because {address} does not answer' in printed and listed(printed) == WHOLE
        silent.listen()
        assert 'does not answer (timed out)' in decide(tmp_path, f'http://127.0.0.1:{port}')

def test_pip_installs_it(tmp_path, index):
    "In a new environment, from the server: the version is that of the lock file, built for the CPU."
    venv.create(tmp_path/'venv', with_pip=True)
    python = tmp_path/'venv/bin/python'
    lock = 'nvidia-nccl-cu13==2.30.7\ntorch==9.1.0\ntorchvision==9.2.0\n'
    with serving(index) as address: decide(tmp_path, address, lock, python, options=())
    found = subprocess.run([python, '-m', 'pip', 'list'], capture_output=True, text=True).stdout
    assert re.search(r'^torch +9\.1\.0\+cpu', found, re.M) and re.search(r'^torchvision +9\.2\.0\+cpu', found, re.M)
    assert 'nvidia' not in found

def test_the_real_lock_file_is_understood(tmp_path):
    "It pins both, and nothing of a GPU is left when its lines are dropped."
    lock = (ROOT/'requirements.lock').read_text()
    pins = dict(re.findall(r'^(torch|torchvision)==(\S+)$', lock, re.M))
    for name, version in pins.items(): write_wheel(tmp_path/'index', name, f'{version}+cpu')
    with serving(tmp_path/'index') as address: lines = listed(decide(tmp_path, address, lock))
    assert lines[:2] == [f'{name}=={version}' for name, version in pins.items()]
    assert len(lines) > 200 and not [line for line in lines if 'nvidia' in line or 'triton' in line]

def test_make_setup_calls_it():
    printed = subprocess.run(['make', '-n', '-B', 'setup'], cwd=ROOT, capture_output=True, text=True).stdout
    assert '.venv/bin/python .ci/install_lock.py requirements.lock' in printed
