"README.md as a reader uses it: every command and every Python block as printed, in order, in an empty folder."
import ast, json, os, re, shlex, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r'^```(sh|python)\n(.*?)^```', (ROOT/'README.md').read_text(encoding='utf-8'), re.M | re.S)

@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    "Runs a command in one empty folder, with a cold cache and no terminal, as a redirected shell would."
    home = tmp_path_factory.mktemp('reader')
    bin = Path(sys.executable).parent
    env = {**os.environ, 'PATH': f'{bin}:{os.environ["PATH"]}', 'CYTOKIT_CACHE': str(home/'.cache'),
           'MPLBACKEND': 'agg'}
    for k in ('CYTOKIT_WEIGHTS', 'IN_TEST'): env.pop(k, None)
    def run(*command):
        return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    run.home = home
    return run

def test_readme_has_its_blocks():
    assert [kind for kind, _ in BLOCKS] == ['sh', 'sh', 'sh', 'sh', 'sh', 'python', 'python']
    begins = [[line.split()[:2] for line in text.splitlines()] for _, text in BLOCKS[:2]]
    assert begins == [[['pip', 'install']]*2, [['make', 'demo'], ['make', 'test']]]

@pytest.mark.parametrize('target', ['demo', 'test', 'lab'])
def test_the_make_targets_exist(target):
    assert subprocess.run(['make', '-n', target], cwd=ROOT, capture_output=True).returncode == 0

@pytest.mark.parametrize('block', [2, 3, 4])
def test_the_commands(reader, block):
    for line in BLOCKS[block][1].splitlines():
        r = reader('bash', '-c', line)
        assert r.returncode == 0, f'{line}\n{r.stdout[-1000:]}{r.stderr[-2000:]}'
        assert 'Traceback' not in r.stdout + r.stderr, line
        words = shlex.split(line, comments=True)
        for option in ('--html', '--csv', '--out'):
            if option in words: assert (reader.home/words[words.index(option) + 1]).exists(), line

def test_the_python_blocks(reader):
    "All of them, one after another, in a clean interpreter; and what they print stands below them."
    (reader.home/'blocks.py').write_text('\n'.join(text for kind, text in BLOCKS if kind == 'python'), encoding='utf-8')
    r = reader(sys.executable, 'blocks.py')
    assert r.returncode == 0, r.stderr[-2000:]
    printed = (ROOT/'README.md').read_text(encoding='utf-8')
    for line in r.stdout.splitlines()[:1]: assert line.strip() in printed

def test_the_table_of_real_sets_is_what_was_measured():
    "Made by a cell of the index; the rest of the index is the Python blocks, which need not run a second time."
    nb = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))
    sources = [''.join(cell['source']) for cell in nb['cells'] if cell['cell_type'] == 'code']
    *steps, last = ast.parse(next(s for s in sources if s.startswith('#| echo: false'))).body
    names = dict(here=ROOT/'nbs')
    exec(compile(ast.Module(steps, []), 'index', 'exec'), names)
    made = eval(compile(ast.Expression(last.value), 'index', 'eval'), names)
    assert made.data.count('\n') > 4 and made.data in (ROOT/'README.md').read_text(encoding='utf-8')
