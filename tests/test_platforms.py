"Windows and macOS: what they lack, how they start processes, what their terminals can print, how they write paths."
import ast, os, subprocess, sys
from pathlib import Path
import pytest
from cytokit_windows import WINDOWS

ROOT = Path(__file__).resolve().parents[1]
COMMAND = 'from cytokit.cli import entry; entry()'
SMALL = '--size 16 --epochs 1 --lr 0.003'

def python(code, *args, cwd, **env):
    "An interpreter of its own; a fork of this one would have modules that it must not have."
    command = [sys.executable, '-c', code, *map(str, args)]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, errors='replace')

def cytokit(line, cwd, before='', **env):
    done = python(before + COMMAND, *line.split(), cwd=cwd, **env)
    assert done.returncode == 0, f'{line}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}'
    return done.stdout

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Images in two classes, and pairs; the folders have names that not every terminal can print."
    home = tmp_path_factory.mktemp('home')
    cytokit('sample mri Köpfe --n 24', home)
    cytokit('sample cells cells --n 8 --set masks=true --set size=64 --set per_plate=2', home)
    return home

# In this order
LINES = ['check Köpfe --html check.html --plan plan.csv', f'train Köpfe --method small {SMALL} --out run',
         'predict run Köpfe/control --csv predictions.csv',
         'segment train cells --preset tiny --patch 32 --epochs 1 --lr 0.003 --out unet',
         'segment predict unet cells/images --out objects', 'interpret run --html why.html', 'diary .', 'machine',
         'lessons course']

# One process for all: it would only import everything again
ALL = """
import sys
from cytokit.cli import entry
for line in sys.argv[1:]:
    sys.argv[1:] = line.split()
    try: entry()
    except SystemExit as e:
        if e.code: sys.exit(f'{line}: exit code {e.code}')
"""

@pytest.fixture(scope='module')
def on_windows(home, tmp_path_factory):
    "What the verbs printed where Unix is missing."
    cache = tmp_path_factory.mktemp('cache')
    done = python(WINDOWS + ALL, *LINES, cwd=home, CYTOKIT_CACHE=str(cache), PYTHONIOENCODING='cp1252')
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

def test_verbs_work_where_unix_is_missing(on_windows, home):
    for name in ('check.html', 'plan.csv', 'run/figure.png', 'unet/figure.png', 'objects/images.csv', 'why.html'):
        assert (home/name).stat().st_size > 0, name
    assert '24 images' in on_windows and 'processor' in on_windows

def test_what_is_taken_away_is_gone(tmp_path):
    "Else the test above would show nothing."
    code = WINDOWS + '''
assert not hasattr(os, 'fork') and not hasattr(signal, 'SIGALRM')
try: import resource
except ImportError: print('no resource')
with open('a', 'w') as f:
    try: os.replace('a', 'b')
    except PermissionError: print('open')
os.replace('a', 'b')
import numpy as np
mapped = np.memmap('c', 'u1', 'w+', 0, 10)
try: os.remove('c')
except PermissionError: print('mapped')
del mapped
os.remove('c')'''
    done = python(code, cwd=tmp_path)
    assert done.stdout.split('\n')[:3] == ['no resource', 'open', 'mapped'], done.stderr

def test_a_class_is_marked_where_unix_is_missing(home):
    "Answers run in one process after the other, without its limits."
    cytokit('new lesson thresholds', home, WINDOWS)
    cytokit('lessons class --lesson thresholds.ipynb', home, WINDOWS)
    assert '0 of 1' in cytokit('grade class --lesson thresholds.ipynb', home, WINDOWS)

# The guard of a script matters here: a new process imports the file again
SPAWN = '''
import multiprocessing, sys, torch
def main():
    multiprocessing.set_start_method('spawn')
    from cytokit import check, segment, train
    from cytokit.core import parallel_map
    from cytokit.data.pairs import pairs
    from os.path import basename
    assert parallel_map(basename, ['a/b', 'c/d', 'e/f'], n_workers=2, processes=True) == ['b', 'd', 'f']
    print(len(check('Köpfe').findings))
    print(train('Köpfe', out='spawned', method='small', epochs=1, lr=.003).folder)
    print(segment(pairs('cells'), out='spawned-unet', preset='tiny', patch=32, epochs=1, lr=.003).folder)
if __name__ == '__main__': main()
'''

def test_processes_may_be_spawned(home):
    (home/'spawn.py').write_text(SPAWN, encoding='utf-8')
    done = subprocess.run([sys.executable, 'spawn.py'], cwd=home, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[1:] == ['spawned', 'spawned-unet'], done.stderr[-2000:]

ASCII = dict(LC_ALL='C', PYTHONCOERCECLOCALE='0', PYTHONUTF8='0')  # cp1252, as on Windows, is tried above

@pytest.mark.parametrize('line', ['check Köpfe', 'diary .', 'machine', 'fetch', 'train --help', 'diff unet unet'])
def test_tables_are_printed_whatever_the_terminal_holds(home, on_windows, line):
    "Minus, dash, squares and the folder's own name stand in what is printed; the runs are there already."
    cytokit(line, home, **ASCII)

def rows_of(home):
    head, *rows = (home/'Köpfe/table.csv').read_text(encoding='utf-8').splitlines()
    return head, [row.split(',', 1) for row in rows]

def test_a_table_from_windows_is_read(home):
    "Backslashes, a mark at the beginning, semicolons and line ends as a spreadsheet there writes them."
    head, rows = rows_of(home)
    lines = [head] + ['Köpfe\\' + image.replace('/', '\\') + ',' + rest for image, rest in rows]
    text = '\r\n'.join(lines).replace(',', ';') + '\r\n'
    (home/'windows.csv').write_bytes(text.encode('utf-8-sig'))
    assert '24 images' in cytokit('check windows.csv', home)
    cytokit(f'train windows.csv --method small {SMALL} --out from-windows', home)

@pytest.mark.parametrize('place', ['C:\\data\\', '\\\\server\\data\\'])
def test_a_place_on_another_computer_is_named(home, place):
    "A drive letter, or a server: nothing here can be meant."
    head, rows = rows_of(home)
    lines = [head] + [place + image.replace('/', '\\') + ',' + rest for image, rest in rows]
    (home/'drive.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    done = python(COMMAND, 'check', 'drive.csv', cwd=home)
    assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
    assert f'the first is {place}control' in done.stderr and 'on another computer' in done.stderr

def files_opened(tree):
    "Calls that open a text file: the call, and the names of its keyword arguments."
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call): continue
        name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
        texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        is_binary = any('b' in text for text in texts if len(text) < 4)
        if name in ('read_text', 'write_text') or isinstance(node.func, ast.Name) and name == 'open' and not is_binary:
            yield node, {keyword.arg for keyword in node.keywords}

MODULES = sorted((ROOT/'cytokit').rglob('*.py'))

@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(ROOT/'cytokit')))
def test_every_text_file_is_opened_with_its_encoding(path):
    "Without one Windows takes that of the country."
    tree = ast.parse(path.read_text(encoding='utf-8'))
    assert [node.lineno for node, names in files_opened(tree) if 'encoding' not in names] == []

def test_names_of_files_are_possible_on_windows(home, on_windows):
    "No colon, no question mark, no space at the end, nothing that differs by its case alone."
    names = [path.relative_to(home) for path in home.rglob('*')]
    bad = [name for name in names if set(name.name) & set('<>:"|?*\\') or name.name != name.name.rstrip(' .')]
    assert bad == [] and len({str(name).lower() for name in names}) == len(names)
