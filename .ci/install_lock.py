"""Install the lock file: `python .ci/install_lock.py requirements.lock`; with --show only say how.

On Linux the package index serves PyTorch for NVIDIA GPUs: 3 GB to download. A computer without such a GPU gets the same
versions from PyTorch's index of builds for the CPU, 0.2 GB, if that index answers and has them.
"""
import os, platform, re, shutil, subprocess, sys, tempfile
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

CPU_INDEX = os.environ.get('CYTOKIT_CPU_INDEX', 'https://download.pytorch.org/whl/cpu')
SECONDS = 5  # to wait for the index
FROM_CPU_INDEX = r'(torch|torchvision)=='
# In the name of a wheel
THIS_PYTHON = rf'(cp{sys.version_info.major}{sys.version_info.minor}|py3)-\S*(x86_64|any)\.whl'
ONLY_FOR_GPU = r'(nvidia-|triton|cuda)'
# Most modules of 320 packages are never imported. The others are compiled when they are first imported.
PIP = [sys.executable, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile']

def needs_only_cpu():
    "Whether the package index serves the GPU build to this system, and it has no NVIDIA GPU."
    return sys.platform == 'linux' and platform.machine() == 'x86_64' and shutil.which('nvidia-smi') is None

def missing_at_index(pins):
    "Why the index of CPU builds cannot be used for these pins; '' where it can."
    for pin in pins:
        name, version = pin.split('==')
        try:
            with urlopen(f'{CPU_INDEX}/{name}/', timeout=SECONDS) as page: listed = page.read().decode()
        except (URLError, OSError, ValueError) as e: return f'{CPU_INDEX} does not answer ({e})'
        if not re.search(rf'{name}-{re.escape(version)}(\+|%2B)cpu-{THIS_PYTHON}', listed):
            return f'{CPU_INDEX} has no {pin} for this Python'
    return ''

def steps(lock):
    "What is decided in one line, and the steps: each the options of pip and the lines of a file of requirements."
    lines = Path(lock).read_text(encoding='utf-8').splitlines()
    pins = [line.split(';')[0].strip() for line in lines if re.match(FROM_CPU_INDEX, line)]
    if not needs_only_cpu(): return 'PyTorch from the package index', [([], lines)]
    problem = missing_at_index(pins)
    if problem: return f'PyTorch from the package index, because {problem}', [([], lines)]
    others = [line for line in lines if not re.match(ONLY_FOR_GPU, line)]
    return f'No NVIDIA GPU: PyTorch from {CPU_INDEX}', [(['--no-deps', '--index-url', CPU_INDEX], pins), ([], others)]

def install(options, lines):
    "One call of pip."
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'requirements.txt')
        file.write_text('\n'.join(lines) + '\n', encoding='utf-8')
        subprocess.run([*PIP, *options, '-r', str(file)], check=True)

def main(lock, *options):
    decision, todo = steps(lock)
    print(decision, flush=True)
    for how, lines in todo:
        if '--show' in options: print(' '.join(how), *lines, sep='\n  ')
        else: install(how, lines)

if __name__ == '__main__': main(*sys.argv[1:])
