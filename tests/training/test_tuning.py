"A search: killed and resumed, helped by a second process, on SQLite and on PostgreSQL; and what it refuses."
import contextlib, json, os, re, shlex, shutil, signal, socket, sqlite3, subprocess, time
from pathlib import Path
import numpy as np, pandas as pd, pytest
from cytokit_process import COMMAND, cytokit, process, start

pytest.importorskip('optuna')
SMALL = ['--size', '16', '--epochs', '2', '--seeds', '1', '--valid', '0.3']
FAST = [*SMALL, '--lr', '0.003']  # without the finder
STUDY = 'study.db'

def read(path): return json.loads(Path(path).read_text())

def trials_in(db):
    "Number, state, score and process of each trial, read without Optuna."
    if not Path(db).exists(): return []
    ask = '''SELECT t.number, t.state, v.value, a.value_json FROM trials t
             LEFT JOIN trial_values v ON v.trial_id = t.trial_id
             LEFT JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = 'process' ORDER BY t.number'''
    with contextlib.closing(sqlite3.connect(f'file:{db}?mode=ro', uri=True, timeout=20)) as c:
        try: return c.execute(ask).fetchall()
        except sqlite3.OperationalError: return []  # the tables are being made

def finished(db): return [row for row in trials_in(db) if row[1] == 'COMPLETE']

def wait_until(true, p, seconds=120):
    "Until something is so, while a process lives."
    end = time.monotonic() + seconds
    while not true():
        assert p.is_alive() and time.monotonic() < end
        time.sleep(.02)

def one_line(r, *words):
    "A refusal: exit code 2, one line, no traceback."
    said = [line for line in r.stderr.splitlines() if line.startswith('cytokit: ')]
    assert r.returncode == 2 and 'Traceback' not in r.stderr, r.stderr
    for word in words: assert word in said[-1], r.stderr

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    from cytokit.data.synthetic import write_sample
    home = tmp_path_factory.mktemp('tuning')
    write_sample('textures', home/'textures', n=72)
    return home

@pytest.fixture(scope='module')
def done(home):
    "A finished search, by the command, with relative paths."
    r = cytokit('tune', 'textures', '--minutes', '0.25', '--out', 'run', *SMALL, cwd=home)
    assert r.returncode == 0, r.stderr
    return home/'run', r.stdout

@pytest.fixture
def cut(done, tmp_path):
    "A copy of it next to it (its table names images from there), as if the search had been cut short."
    run = shutil.copytree(done[0], done[0].with_name(f'cut_{tmp_path.name}'))
    for name in ('result.json', 'search.json', 'clock.json'): (run/name).unlink()
    shutil.rmtree(run/'fits')
    return run

def test_command_says_what_it_found(done, home):
    run, out = done
    result, trials = read(run/'result.json'), read(run/'search.json')['trials']
    space = {k['name']: k for k in result['replay']['space']}
    assert trials[0]['params'] == {name: k['default'] for name, k in space.items()}
    for row in trials:
        for name, value in row['params'].items():
            values = space[name]['values']
            assert values[0] <= value <= values[1] if space[name]['is_range'] else value in values
    files = {'run.json', 'split.csv', 'history.csv', 'predictions.csv', 'figure.png', STUDY}
    assert files <= {p.name for p in run.iterdir()}
    assert 'Balanced accuracy: defaults' in out and 'use the ' in out
    held_out = pd.read_csv(run/'split.csv').query("split == 'valid'")
    assert len(pd.read_csv(run/'predictions.csv')) == len(held_out)*len(result['scores'])
    line = re.search('^To use it: cytokit (.*)$', out, re.M)[1]
    r = cytokit(*shlex.split(line), '--out', home/'used', cwd=home)
    assert r.returncode == 0, r.stderr
    assert read(home/'used/run.json')['data'] == read(run/'run.json')['data']  # the same images and split

def test_search_does_not_look_at_the_validation_part(home, tmp_path):
    "Other targets there, and each trial scores the same."
    from cytokit.data.preprocess import Preprocessing
    from cytokit.training.fit import Settings, plan_training
    from cytokit.training.runs import target_values
    from cytokit.training.search import Budget, Task, begin_search, run_trial
    table, how, s, facts = plan_training(home/'textures', Preprocessing(size=16), .3, Settings(epochs=1, lr=.003))
    y, n = target_values(table, facts, 'split.csv'), len(facts['classes'])
    other = np.where(table['split'] == 'valid', (y + 1) % n, y)
    scores = []
    for i, targets in enumerate((y, other)):
        task = Task(s, how, table, targets, n, .3)
        study, space = begin_search(task, tmp_path/f'{i}.db')
        for _ in range(2): assert run_trial(task, study, space, Budget(10, tmp_path/f'{i}.json')) is None
        scores.append([t.value for t in study.trials])
    assert not np.array_equal(y, other) and scores[0] == scores[1]

def test_killed_search_resumes(home, tmp_path):
    run = tmp_path/'run'
    p = start(COMMAND, 'tune', home/'textures', '--minutes', '0.2', '--out', run, *FAST, output=tmp_path)
    wait_until(lambda: len(finished(run/STUDY)) >= 2 and trials_in(run/STUDY)[-1][1] == 'RUNNING', p)
    p.kill(); p.join()
    before = trials_in(run/STUDY)
    assert p.exitcode == -signal.SIGKILL and not (run/'result.json').exists()
    r = cytokit('resume', run)
    assert r.returncode == 0, r.stderr
    after, rows = trials_in(run/STUDY), read(run/'search.json')['trials']
    kept = [row for row in before if row[1] == 'COMPLETE']
    assert kept == [row for row in after[:len(before)] if row[1] == 'COMPLETE'] and len(after) > len(before)
    half_done = [row[0] for row in before if row[1] == 'RUNNING']
    assert [rows[number]['state'] for number in half_done] == ['failed']*len(half_done)
    drawn = [json.dumps(row['params'], sort_keys=True) for row in rows if row['state'] != 'failed']
    assert len(set(drawn)) == len(drawn)  # no trial is drawn again

def test_second_process_helps(home, tmp_path):
    run = tmp_path/'run'
    p = start(COMMAND, 'tune', home/'textures', '--minutes', '0.25', '--out', run, *FAST, output=tmp_path)
    wait_until(lambda: len(finished(run/STUDY)) >= 1, p)
    one_line(cytokit('resume', run), 'another process works on this search', 'tune --join')
    r = cytokit('tune', '--join', run)
    assert r.returncode == 0 and 'trials so far' in r.stdout, r.stderr
    p.join()
    assert p.exitcode == 0, (tmp_path/'err').read_text()
    of = [row[3] for row in finished(run/STUDY)]
    assert len(set(of)) == 2 and str(p.pid) in of
    assert len(read(run/'search.json')['trials']) >= len(of)
    one_line(cytokit('tune', '--join', run), 'its search has ended')

def test_numbers(tmp_path):
    from cytokit.data.synthetic import write_sample
    write_sample('cells', tmp_path/'cells', n=48, size=32, target='count')
    args = ['--task', 'number', '--minutes', '0.3', '--out', 'run', '--only', 'lr,augment']
    r = cytokit('tune', 'cells', *args, *FAST, cwd=tmp_path)
    assert r.returncode == 0, r.stderr
    result = read(tmp_path/'run/result.json')
    best = min(row['score'] for row in result['replay']['trials'] if row['state'] == 'finished')
    assert result['metric'] == 'mae' and (result['best'] is None or result['best']['score'] == best)
    assert [k['name'] for k in result['replay']['space']] == ['augment', 'lr'] and 'MAE' in r.stdout

def cut_short(path): path.write_bytes(path.read_bytes()[:70_000])

def of_something_else(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db: db.execute('CREATE TABLE photos (name TEXT)')

def another_study(path):
    import optuna
    path.unlink()
    study = optuna.create_study(storage=f'sqlite:///{path}', study_name='theirs')
    study.optimize(lambda trial: trial.suggest_float('depth', 0, 1), n_trials=2)

def same_name(path):
    import optuna
    path.unlink()
    optuna.create_study(storage=f'sqlite:///{path}', study_name='tune')

@pytest.mark.parametrize('harm, word', [
    (cut_short, 'damaged or cut short'), (of_something_else, 'holds no study'),
    (another_study, 'holds another study'), (same_name, 'a search for something else')])
def test_damaged_or_foreign_study(cut, harm, word):
    harm(cut/STUDY)
    before = (cut/STUDY).read_bytes()
    one_line(cytokit('resume', cut), word)
    assert (cut/STUDY).read_bytes() == before and not (cut/'result.json').exists()

def test_study_that_another_process_holds(cut, monkeypatch):
    from cytokit.core import InputError
    from cytokit.training import study
    monkeypatch.setattr(study, '_PATIENCE', .2)
    with contextlib.closing(sqlite3.connect(cut/STUDY)) as db:
        db.execute('BEGIN EXCLUSIVE')
        with pytest.raises(InputError, match='study.db: another process has held it'):
            study.open_storage(cut/STUDY)
    study.open_storage(cut/STUDY)

NO_OPTUNA = 'import sys; sys.modules["optuna"] = None; ' + COMMAND

def test_bad_input_leaves_nothing(home, tmp_path):
    def refused(*args): return cytokit('tune', home/'textures', '--out', tmp_path/'run', *SMALL, *args)
    one_line(refused('--minutes', '0'), 'minutes must be a number above 0')
    one_line(refused('--minutes', '0.00001'), 'no trial would be finished', 'for about ten trials')
    nowhere = refused('--storage', 'postgresql://me:secret@127.0.0.1:1/db')
    one_line(nowhere, 'storage postgresql+psycopg://me@127.0.0.1:1/db: not usable')
    assert 'secret' not in nowhere.stderr
    one_line(refused('--storage', 'mysql://me:secret@host/db'), 'got one of mysql')
    one_line(refused('--only', 'depth'), 'augment, size, width, lr')
    one_line(process(NO_OPTUNA, 'tune', home/'textures', '--out', tmp_path/'run'), 'pip install "cytokit-nb[tune]"')
    assert not (tmp_path/'run').exists()
    one_line(cytokit('tune'), '--join')
    one_line(cytokit('tune', '--join', home/'textures'), 'not a run folder')

# %% PostgreSQL, a real server

def server_programs():
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'))
    return found[-1].parent if found else None

def as_postgres(*args):
    "A command as a user that the server accepts: it does not run as root."
    args = [str(arg) for arg in args]
    if os.geteuid() == 0: args = ['runuser', '-u', 'postgres', '--', *args]
    return subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd='/', timeout=120)

@pytest.fixture(scope='module')
def server():
    "Address of a database of a server of its own, which asks for a password."
    programs = server_programs()
    if programs is None: pytest.skip('no PostgreSQL server on this machine (Debian: postgresql)')
    if os.geteuid() == 0 and not shutil.which('runuser'): pytest.skip('PostgreSQL does not run as root: no runuser')
    folder = Path('/tmp')/f'cytokit_pg_{os.getpid()}'
    folder.mkdir()
    (folder/'password').write_text('secret-word')
    if os.geteuid() == 0:
        for path in (folder, folder/'password'): shutil.chown(path, 'postgres')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    try:
        secret = ['--auth=scram-sha-256', f'--pwfile={folder/"password"}']
        as_postgres(programs/'initdb', '-D', folder/'data', '-U', 'cytokit', *secret)
        options = f'-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off'
        as_postgres(programs/'pg_ctl', '-D', folder/'data', '-w', '-l', folder/'log', '-o', options, 'start')
        try: yield f'postgresql://cytokit:secret-word@127.0.0.1:{port}/postgres'
        finally: as_postgres(programs/'pg_ctl', '-D', folder/'data', '-m', 'immediate', 'stop')
    finally: shutil.rmtree(folder, ignore_errors=True)

def test_several_machines_share_a_study_in_postgresql(home, server, tmp_path):
    "Two run folders, as two machines have, and the same command at the same moment, on an empty database."
    both = []
    for name in ('a', 'b'):
        (tmp_path/name).mkdir()
        args = ['--minutes', '0.25', '--storage', server, '--out', tmp_path/name/'run', *FAST]
        both.append(start(COMMAND, 'tune', home/'textures', *args, output=tmp_path/name))
    for p in both: p.join()
    assert [p.exitcode for p in both] == [0, 0], [(tmp_path/name/'err').read_text() for name in 'ab']
    a, b = (read(tmp_path/name/'run/search.json') for name in 'ab')
    assert a['space'] == b['space'] and a['trials'][0]['params'] == b['trials'][0]['params']
    own = [row for row in a['trials'] if row['state'] == 'finished']
    assert own and own[0] in b['trials']
    for name in ('a', 'b'):
        assert not (tmp_path/name/'run'/STUDY).exists()
        for path in tmp_path.joinpath(name).rglob('*'):
            if path.is_file(): assert b'secret-word' not in path.read_bytes(), path
    wrong = server.replace('secret-word', 'wrong-word')
    r = cytokit('tune', home/'textures', '--storage', wrong, '--out', tmp_path/'none', *SMALL)
    one_line(r, 'not usable')
    assert 'wrong-word' not in r.stderr and not (tmp_path/'none').exists()

def test_killed_search_resumes_in_postgresql(home, server, tmp_path):
    "The password is not in the run folder: it is PGPASSWORD."
    run, seed = tmp_path/'run', ['--seed', '3']  # another study than that of the test before
    args = ['--minutes', '0.2', '--storage', server, '--out', run, *FAST, *seed]
    p = start(COMMAND, 'tune', home/'textures', *args, output=tmp_path)
    wait_until((run/'clock.json').exists, p)
    p.kill(); p.join()
    one_line(cytokit('resume', run), 'PGPASSWORD')
    r = cytokit('resume', run, env={**os.environ, 'PGPASSWORD': 'secret-word'})
    assert r.returncode == 0, r.stderr
    assert 'failed' in [row['state'] for row in read(run/'search.json')['trials']]
