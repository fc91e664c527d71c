"A budget of seconds, one voice for the learning rate, and repeats with other threads: the real command, as processes."
import json, os, re, subprocess, sys
from pathlib import Path
import pytest
import cytokit_process

COMMAND = str(Path(sys.executable).with_name('cytokit'))

def cytokit(home, *args, **env):
    "The command, with these variables set."
    return cytokit_process.cytokit(*args, cwd=home, env={**os.environ, **env})

def from_a_shell(home, *args, **env):
    "The command as an interpreter of its own, which reads these variables when it starts."
    return subprocess.run([COMMAND, *map(str, args)], cwd=home, capture_output=True, text=True,
                          env={**os.environ, **env})

def result(home, run): return json.loads((home/run/'result.json').read_text())

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('budget')
    r = cytokit(home, 'sample', 'textures', 'textures', '--n', 80)
    assert r.returncode == 0, r.stderr
    return home

def test_every_method_gets_the_same_seconds(home):
    "The plan decides: what is recorded ends by the clock; there is no conclusion exactly where the seconds differ."
    r = cytokit(home, 'compare', 'textures', '--methods', 'small,frozen,finetune', '--size', 32, '--seconds', 3,
                '--seeds', 1, '--out', 'timed')
    assert r.returncode == 0, r.stderr
    got = result(home, 'timed')
    assert got['budget_seconds'] == 3 and len(got['replay']) == 3
    for name, o in got['replay'].items():
        assert o['plan'] or o['seconds'] > 3, name  # steps were planned, or not even one epoch fitted
    used = {a['name']: a['train_seconds'] for a in got['methods']}
    unequal = max(used.values()) > 1.25*min(used.values()) + .5
    assert got['conclusion'].startswith('No conclusion') == unequal
    epochs = {a['name']: a['epochs'] for a in got['methods']}
    # a head's epochs are the shorter ones; one is the least, on a machine that is busy with other things
    assert epochs['frozen'] > epochs['finetune'] or epochs['finetune'] == 1

def test_a_comparison_with_a_budget_is_repeated_by_its_plan(home):
    if not (home/'timed').exists(): pytest.skip('needs the run of the test before')
    r = cytokit(home, 'rerun', 'timed', '--out', 'timed_again', OMP_NUM_THREADS='2')
    assert r.returncode == 0 and 'Every figure is the same.' in r.stdout, r.stdout + r.stderr
    assert result(home, 'timed_again')['replay'] == result(home, 'timed')['replay']

def test_a_budget_that_is_over_at_once_still_does_one_epoch(home):
    r = cytokit(home, 'train', 'textures', '--size', 32, '--seconds', .001, '--out', 'short')
    assert r.returncode == 0, r.stderr
    assert result(home, 'short')['epochs'] == 1

def test_rerun_with_other_threads_and_of_a_rerun(home):
    r = cytokit(home, 'train', 'textures', '--size', 32, '--epochs', 3, '--precision', 'float32', '--out', 'one',
                OMP_NUM_THREADS='1')
    assert r.returncode == 0, r.stderr
    assert json.loads((home/'one/run.json').read_text())['threads'] == 1
    r = from_a_shell(home, 'rerun', 'one', '--out', 'two', OMP_NUM_THREADS='2')
    assert r.returncode == 0 and 'Every figure is the same.' in r.stdout, r.stdout + r.stderr
    r = cytokit(home, 'rerun', 'two', '--out', 'three', OMP_NUM_THREADS='2')  # was: repeats given twice, TypeError
    assert r.returncode == 0 and 'Every figure is the same.' in r.stdout, r.stdout + r.stderr
    config = json.loads((home/'three/run.json').read_text())
    assert config['threads'] == 1 and Path(config['repeats']).name == 'two'

def test_rerun_names_threads_that_are_not_there(home):
    r = cytokit(home, 'train', 'textures', '--size', 16, '--epochs', 1, '--lr', .01, '--out', 'many',
                OMP_NUM_THREADS='1')
    assert r.returncode == 0, r.stderr
    config = json.loads((home/'many/run.json').read_text())
    (home/'many/run.json').write_text(json.dumps(dict(config, threads=4096)))
    r = cytokit(home, 'rerun', 'many', '--out', 'fewer', OMP_NUM_THREADS='1')
    assert r.returncode == 1 and r.stdout.count('threads 4096 →') == 1, r.stdout + r.stderr

def test_lr_says_what_train_uses(home):
    said = cytokit(home, 'lr', 'textures', '--size', 32)
    assert said.returncode in (0, 1), said.stderr
    used = cytokit(home, 'train', 'textures', '--size', 32, '--epochs', 1, '--out', 'rated')
    assert used.returncode == 0, used.stderr
    got = result(home, 'rated')
    rate = re.search(r'Learning rate (\S+) is used\.', said.stdout)
    assert rate and float(rate[1]) == pytest.approx(got['learning_rate'], rel=.06), said.stdout
    assert got['lr_note'] in said.stdout and 'The finder alone' in said.stdout
