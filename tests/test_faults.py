"""Faults that were found from outside, each as a person meets it: one line that says what is wrong, nothing lost, nothing half-written.

Where a process matters (its encoding, its memory, its signals, its disk), the command runs as one; the rest goes through `main`.
"""
import contextlib, json, os, resource, shutil, signal, subprocess, sys, time, zipfile
from pathlib import Path
import cytokit_process, pandas as pd, pytest
from cytokit.cli import main
from test_bad_input import one_line, save, two_classes

COMMAND = [str(Path(sys.executable).parent/'cytokit')]
TINY = ['--epochs', '1', '--size', '16', '--lr', '0.001', '--precision', 'float32']

def run(*args, cwd, timeout=240, **env):
    "The command as a process in the folder `cwd`."
    return subprocess.run([*COMMAND, *map(os.fsencode, args)], cwd=cwd, capture_output=True, timeout=timeout,
                          env=os.environ | env)

def forked(*args, cwd, first='', **env):
    "The same, forked from a server that holds torch; `first` is code that runs before the command."
    code = first + cytokit_process.COMMAND
    done = cytokit_process.process(code, *args, cwd=cwd, env=os.environ | env)
    done.stdout, done.stderr = done.stdout.encode(), done.stderr.encode()
    return done

def refused(done, code=2):
    "The one line that a refusal is."
    err = done.stderr.decode('utf-8', 'replace')
    assert done.returncode == code and err.count('\n') == 1 and err.startswith('cytokit: ') and 'Traceback' not in err, (done.returncode, done.stdout, err)
    return err

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A finished run of `train`, of `compare` and of `segment train`."
    d = tmp_path_factory.mktemp('trained')
    assert main(['train', str(two_classes(d/'x')), *TINY, '--out', str(d/'train')]) == 0
    assert main(['compare', str(d/'x'), *TINY, '--methods', 'majority,small', '--seeds', '1', '--out', str(d/'compare')]) == 0
    assert main(['sample', 'cells', str(d/'cells'), '--n', '6', '--set', 'masks=true', '--set', 'per_plate=2']) == 0
    assert main(['segment', 'train', str(d/'cells'), '--preset', 'tiny', '--patch', '32', '--epochs', '1', '--precision', 'float32', '--out', str(d/'segment')]) == 0
    return d

@pytest.fixture
def runs(trained, tmp_path):
    "A copy of it, to spoil."
    return Path(shutil.copytree(trained, tmp_path/'runs'))

# ---- every file unreadable

@pytest.mark.parametrize('n', [1, 12])
def test_check_where_no_file_can_be_read(n, tmp_path):
    for i in range(n): (tmp_path/'set'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True); (tmp_path/'set'/'ab'[i % 2]/f'{i}.png').write_bytes(b'\x89PNG broken')
    done = run('check', 'set', '--html', 'a.html', '--json', 'a.json', '--plan', 'plan.csv', cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    found = json.loads((tmp_path/'a.json').read_text())
    assert found['readable'] == 0 and sum(f['check'] == 'unreadable' for f in found['findings']) == n
    assert len(pd.read_csv(tmp_path/'plan.csv')) == n and 'unreadable' in (tmp_path/'a.html').read_text()

def test_check_of_one_broken_file(tmp_path):
    (tmp_path/'a.png').write_bytes(b'')
    done = run('check', 'a.png', cwd=tmp_path)
    assert done.returncode == 0 and b'unreadable' in done.stdout, done.stderr.decode()

def test_check_of_an_empty_set(tmp_path):
    (tmp_path/'set').mkdir()
    assert 'no image' in refused(run('check', 'set', cwd=tmp_path))

# ---- files that are no plain files, or too large

def fifo(path): path.unlink(missing_ok=True); os.mkfifo(path)
def zeros(path): path.unlink(missing_ok=True); path.symlink_to('/dev/zero')
def large(path):
    with open(path, 'wb') as f: f.write(b'[' + b'[],'*30_000_000 + b'[]]')
def folder(path): path.unlink(missing_ok=True); path.mkdir()

@contextlib.contextmanager
def bounded(gib=2):
    "Inside, no more than so much memory beyond what there is, and it does not hang."
    held = int(Path('/proc/self/statm').read_text().split()[0])*resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + (gib << 30), before[1]))
    def hangs(*_): raise AssertionError('it hangs')
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(120)
    try: yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_AS, before)

VERB_OF = dict(train=['predict', 'train', 'x', '--csv', 'p.csv'], segment=['segment', 'view', 'segment'])

@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc and pipes')
@pytest.mark.parametrize('make', [fifo, zeros, large, folder], ids=lambda f: f.__name__)
@pytest.mark.parametrize('kind, name', [('train', n) for n in ('run.json', 'model.json', 'result.json', 'history.csv', 'model.safetensors')] + [('segment', 'split.csv'), ('segment', 'predictions.csv')])
def test_run_folder_with_what_is_no_plain_file(make, kind, name, runs, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    make(runs/kind/name)
    if make is large and name.endswith('.csv'): (runs/kind/name).write_bytes(b'image,target,group,split,' + b'a,'*150_000_000)
    with bounded(): assert name in one_line(capsys, main(VERB_OF[kind]))

@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc and pipes')
@pytest.mark.parametrize('make', [fifo, zeros, large, folder], ids=lambda f: f.__name__)
@pytest.mark.parametrize('option, name', [('--against', 'a.json'), ('--silence', 's.csv'), ('--table', 't.csv')])
def test_check_with_what_is_no_plain_file(make, option, name, tmp_path, capsys, monkeypatch):
    if (option, make) == ('--against', folder): return  # an earlier state of the set, given as its folder
    monkeypatch.chdir(tmp_path)
    two_classes(tmp_path/'x'); make(tmp_path/name)
    with bounded(3): assert name in one_line(capsys, main(['check', 'x', option, name]))

@pytest.mark.parametrize('make', [fifo, zeros], ids=lambda f: f.__name__)
def test_plan_and_masks_that_are_no_plain_files(make, tmp_path, capsys):
    two_classes(tmp_path/'x'); make(tmp_path/'plan.csv'); make(tmp_path/'coco.json')
    for args in (['train', tmp_path/'x', '--plan', tmp_path/'plan.csv'], ['segment', 'train', tmp_path/'x'/'a', '--masks', tmp_path/'coco.json']):
        one_line(capsys, main([*map(str, args), '--out', str(tmp_path/'run')]))

def test_roi_zip_that_lies_about_its_sizes(tmp_path):
    "A gigabyte of zeros squeezed a thousandfold, declared as a hundred bytes."
    save(tmp_path/'x'/'images'/'a.png'); (tmp_path/'x'/'masks').mkdir()
    path = tmp_path/'x'/'masks'/'a.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        with z.open('a.roi', 'w') as f:
            for _ in range(256): f.write(bytes(2**22))
    raw, size = path.read_bytes(), (2**30).to_bytes(4, 'little')
    at = raw.rindex(b'PK\1\2')
    assert raw[at+24:at+28] == size
    path.write_bytes(raw[:at+24] + (100).to_bytes(4, 'little') + raw[at+28:])
    code = f'import re\nfrom cytokit.data.annotations import read_labels\ntry: read_labels({str(path)!r}, (24, 24))\nexcept ValueError as e: print(e)\nprint(int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    said, peak = done.stdout.splitlines()
    assert 'a.zip' in said and int(peak) < 500, (said, peak)

# ---- file names that are not UTF-8

def strange(folder):
    "Images whose names are not UTF-8, as old archives and cameras leave them."
    two_classes(folder)
    for c in 'ab': os.rename(folder/c/'0.png', os.fsencode(folder/c) + b'/\xe9t\xe9.png')
    return folder

def test_names_that_are_not_utf8(runs, capsys, monkeypatch):
    strange(runs/'s')
    done = run('check', 's', '--html', 'a.html', '--json', 'a.json', '--plan', 'plan.csv', '--parquet', 'a.parquet', cwd=runs)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    done = forked('predict', 'train', 's', '--csv', 'p.csv', cwd=runs)
    assert done.returncode == 0, done.stderr.decode()
    d = pd.read_csv(runs/'p.csv')
    assert len(d) == 12 and d['image'].str.contains('udce9t').sum() == 2
    monkeypatch.chdir(runs)
    assert main(['train', 's', *TINY, '--plan', 'plan.csv', '--out', 'run', '--json', 'r.json']) == 0
    assert main(['rerun', 'run', '--out', 'again']) == 0
    (runs/'plan2.csv').write_bytes(b'image,action\ns/a/\xe9t\xe9.png,drop\n')
    assert main(['train', 's', *TINY, '--plan', 'plan2.csv', '--out', 'run2', '--json', 'r2.json']) == 0
    n = [sum(json.loads((runs/f).read_text())[k] for k in ('n_train', 'n_valid')) for f in ('r.json', 'r2.json')]
    assert n == [12, 11]

def test_a_class_whose_name_is_not_utf8(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_classes(tmp_path/'x')
    os.rename(b'x/a', b'x/\xe9')
    assert main(['train', 'x', *TINY, '--out', 'run', '--json', 'r.json']) == 0
    assert json.loads(Path('r.json').read_text())['classes'] == ['\\udce9', 'b']

def test_bad_file_whose_name_is_not_utf8(runs, capsys, monkeypatch):
    (runs/'s').mkdir(); Path(os.fsdecode(os.fsencode(runs/'s') + b'/\xe9.png')).write_bytes(b'x'); save(runs/'s'/'b.png')
    monkeypatch.chdir(runs)
    err = one_line(capsys, main(['predict', 'train', 's', '--csv', 'p.csv']))
    assert 'udce9' in err and pd.read_csv(runs/'p.csv')['predicted'].notna().sum() == 1

def test_segment_predict_of_names_that_are_not_utf8(runs, monkeypatch):
    os.rename(save(runs/'s'/'b.png', shape=(64, 64)), os.fsencode(runs/'s') + b'/\xe9.png')
    monkeypatch.chdir(runs)
    assert main(['segment', 'predict', 'segment', 's', '--out', 'out']) == 0
    assert {b'\xe9.geojson', b'\xe9_labels.tif', b'\xe9_objects.csv'} <= set(os.listdir(os.fsencode(runs/'out')))

# ---- a terminal, or a file, that holds few characters

@pytest.mark.parametrize('encoding', ['cp1252', 'ascii'])
def test_output_in_few_characters(encoding, tmp_path):
    two_classes(tmp_path/'細胞 x')
    done = run('compare', '細胞 x', *TINY, '--methods', 'majority,logistic', '--seeds', '1', '--json', 'r.json', cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and (tmp_path/'r.json').exists() and b'majority' in done.stdout, done.stderr.decode()
    assert '細胞'.encode('ascii', 'backslashreplace') in refused(run('check', '細胞', cwd=tmp_path, PYTHONIOENCODING=encoding)).encode()

# ---- killed, full, stopped

def test_run_that_was_killed_as_it_began(tmp_path, capsys, monkeypatch):
    "Killed between split.csv and run.json: `resume` says so, and the same command begins it."
    two_classes(tmp_path/'x')
    code = ('import os, sys, cytokit.core as core, cytokit.training.runs as t\nfrom cytokit.cli import main\n'
            't.write_json = lambda *a: os._exit(9)\nmain(sys.argv[1:])')
    args = ['train', 'x', *TINY, '--out', 'run']
    assert cytokit_process.process(code, *args, cwd=tmp_path).returncode == 9
    monkeypatch.chdir(tmp_path)
    assert 'no run.json' in one_line(capsys, main(['resume', 'run'])) and main(args) == 0

def test_an_empty_folder_may_be_given(tmp_path, capsys):
    (tmp_path/'run').mkdir(); (tmp_path/'link').symlink_to(tmp_path/'real'); (tmp_path/'real').mkdir()
    for name in ('run', 'link'):
        assert main(['train', str(two_classes(tmp_path/'x')), *TINY, '--out', str(tmp_path/name)]) == 0
        assert {'run.json', 'split.csv', 'result.json'} <= set(os.listdir(tmp_path/name))
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ['.diary.jsonl.lock', 'diary.jsonl', 'link', 'real', 'run', 'x']

@pytest.mark.parametrize('kib', [1, 60])
def test_disk_full_in_train(kib, tmp_path):
    "As a full disk: no file may grow beyond so many KiB (a checkpoint has more)."
    two_classes(tmp_path/'x')
    first = f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({kib << 10}, {kib << 10}))\n'
    cache = str(tmp_path/'cache')
    err = refused(forked('train', 'x', *TINY, '--out', 'run', cwd=tmp_path, first=first, CYTOKIT_CACHE=cache))
    assert 'run' in err and 'space' in err
    assert not [p for p in tmp_path.rglob('.tmp-*')]

def wait_for(p, sign, seconds=120):
    "Until the process has loaded a library whose name holds `sign`, or written such a file."
    end = time.monotonic() + seconds
    while p.poll() is None and time.monotonic() < end:
        if isinstance(sign, Path) and sign.exists() or not isinstance(sign, Path) and sign in Path(f'/proc/{p.pid}/maps').read_text(): return
        time.sleep(.02)

@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('verb, sign', [('check', '_imaging'), ('train', 'libtorch_cpu'), ('train', Path('run/checkpoint.safetensors')), ('compare', Path('run/run.json'))], ids=str)
def test_ctrl_c(verb, sign, tmp_path):
    for c in 'ab':
        for i in range(200): save(tmp_path/'x'/c/f'{i}.png', 1000*ord(c) + i, (128, 128))
    extra = ['--fresh'] if verb == 'check' else ['--epochs', '3000', '--size', '32', '--precision', 'float32', '--out', 'run']
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run with nohup or &
    p = subprocess.Popen([*COMMAND, verb, 'x', *extra], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed)
    wait_for(p, tmp_path/sign if isinstance(sign, Path) else sign)
    os.killpg(p.pid, signal.SIGINT)  # the whole group, as a terminal does
    out, err = p.communicate(timeout=120)
    if verb == 'check' and p.returncode == 0: return  # it was done already
    begun = '; to go on: cytokit resume run' if isinstance(sign, Path) else ''
    assert p.returncode == 130 and err.decode() == f'cytokit: stopped{begun}\n', (p.returncode, err.decode())

@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('words', ['segment train cells --preset tiny --patch 32 --epochs 3000',
                                   'tune x --size 32 --epochs 1 --minutes 60'], ids=lambda words: words.split()[0])
def test_ctrl_c_says_how_other_runs_go_on(words, tmp_path):
    if words.startswith('tune'): pytest.importorskip('optuna')
    for c in 'ab':
        for i in range(20): save(tmp_path/'x'/c/f'{i}.png', 1000*ord(c) + i, (32, 32))
    assert main(['sample', 'cells', str(tmp_path/'cells'), '--n', '30', '--set', 'masks=true']) == 0
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    p = subprocess.Popen([*COMMAND, *words.split(), '--precision', 'float32', '--out', 'run'], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed)
    wait_for(p, tmp_path/'run'/'run.json')
    time.sleep(1)
    os.killpg(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 130 and err.decode().endswith('cytokit: stopped; to go on: cytokit resume run\n'), (p.returncode, err.decode())

# ---- damaged run folders

BROKEN = {'half': None, 'list': b'[]', 'object': b'{}', 'latin': 'é'.encode('latin1'), 'words': b'a,b\nc,d\n'}
READERS = {
    'train': [['predict', 'RUN', 'x', '--csv', 'p.csv'], ['resume', 'RUN'], ['rerun', 'RUN', '--out', 'again']],
    'compare': [['resume', 'RUN'], ['rerun', 'RUN', '--out', 'again']],
    'segment': [['segment', 'view', 'RUN'], ['segment', 'predict', 'RUN', 'cells/images', '--out', 'o'], ['segment', 'evaluate', 'RUN'], ['resume', 'RUN']],
}
FILES = {'train': ['run.json', 'result.json', 'history.csv', 'model.json', 'split.csv'], 'compare': ['run.json', 'result.json', 'split.csv'],
         'segment': ['run.json', 'result.json', 'history.csv', 'model.json', 'predictions.csv', 'split.csv']}

def read_all(kind, runs, capsys, monkeypatch):
    "Each verb that reads a run ends well or in one line; what the lines were."
    monkeypatch.chdir(runs)
    said = []
    for args in READERS[kind]:
        capsys.readouterr()
        code = main([a.replace('RUN', kind) for a in args])
        said.append('' if code in (0, 1) else one_line(capsys, code))
        for made in ('again', 'o', 'p.csv', 'view.png'): shutil.rmtree(runs/made, ignore_errors=True)
    return said

@pytest.mark.parametrize('kind, name', [(k, n) for k, names in FILES.items() for n in names])
def test_damaged_run(kind, name, runs, capsys, monkeypatch):
    path = runs/kind/name
    good = path.read_bytes()
    for how, raw in BROKEN.items():
        path.write_bytes(good[:len(good)//2] if raw is None else raw)
        said = read_all(kind, runs, capsys, monkeypatch)
        if name in ('run.json', 'result.json') and how != 'half': assert all(name in s for s in said), (how, said)

def values(d, path=()):
    "Every place in a JSON."
    for k, v in d.items() if isinstance(d, dict) else enumerate(d[:1]) if isinstance(d, list) else ():
        yield (*path, k)
        yield from values(v, (*path, k))

@pytest.mark.parametrize('kind, name', [(k, n) for k, names in FILES.items() for n in names if n.endswith('json')])
def test_run_with_one_value_missing_or_of_another_type(kind, name, runs, capsys, monkeypatch):
    path = runs/kind/name
    good = path.read_text()
    places = [p for p in values(json.loads(good)) if not set(p) & {'versions', 'spec'}]
    for i, place in enumerate(places[::max(1, len(places)//5)]):  # test_fuzz.py tries the others
        d = at = json.loads(good)
        for k in place[:-1]: at = at[k]
        new = ['x', None, 7, [], {}][i % 5]
        if i % 2 and isinstance(at, dict): del at[place[-1]]
        else: at[place[-1]] = new
        path.write_text(json.dumps(d))
        read_all(kind, runs, capsys, monkeypatch)

# ---- numbers beyond all measure

@pytest.mark.parametrize('args', [['--seed', str(2**70)], ['--seed', str(-2**70)], ['--lr', 'inf'], ['--lr', '1e300'], ['--seconds', 'inf'], ['--seconds', 'nan'], ['--lr', 'nan'], ['--epochs', '1'*30], ['--patience', '1'*30],
                                  ['--weights-mean', 'inf', '--method', 'frozen'], ['--valid', 'nan'], ['--low', 'nan'], ['--channels', '1000000']], ids=' '.join)
def test_numbers_of_train(args, tmp_path, capsys):
    one_line(capsys, main(['train', str(two_classes(tmp_path/'x')), '--size', '16', '--out', str(tmp_path/'run'), *args]))
    assert not (tmp_path/'run').exists()

@pytest.mark.parametrize('args', [['--seed', str(2**70)], ['--seconds', 'inf'], ['--lr', 'inf'], ['--batch-size', '1000000000'], ['--patch', '100000'], ['--patch', '100000', '--batch-size', '1'], ['--epochs', '1'*30]], ids=' '.join)
def test_numbers_of_segment(args, trained, tmp_path, capsys):
    one_line(capsys, main(['segment', 'train', str(trained/'cells'), '--preset', 'tiny', '--out', str(tmp_path/'run'), *args]))
    assert not (tmp_path/'run').exists()

@pytest.mark.parametrize('args', [['compare', '--seed', str(-2**70), '--methods', 'small'], ['lr', '--seed', str(2**70)], ['compare', '--folds', '1'*12], ['compare', '--seconds', 'inf', '--methods', 'small']], ids=' '.join)
def test_numbers_of_other_verbs(args, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_line(capsys, main([args[0], str(two_classes(tmp_path/'x')), '--size', '16', *args[1:]]))
    assert not (tmp_path/'runs').exists()

@pytest.mark.parametrize('method', ['small', 'frozen'])
def test_a_batch_larger_than_the_set_is_the_set(method, tmp_path, capsys):
    two_classes(tmp_path/'x')
    for n in ('9', '1000000000'): assert main(['train', str(tmp_path/'x'), '--method', method, *TINY, '--epochs', '2', '--batch-size', n, '--out', str(tmp_path/n)]) == 0
    a, b = (json.loads((tmp_path/n/'result.json').read_text()) for n in ('9', '1000000000'))
    assert a['n_train'] <= 9 and a['balanced_accuracy'] == b['balanced_accuracy']

def test_images_that_no_memory_holds(tmp_path):
    "A batch of 400 images of 8192 pixels a side takes 1.7 TB and more: said before any is made."
    for c in 'ab':
        for i in range(200): save(tmp_path/'x'/c/f'{i}.png', 1000*ord(c) + i)
    err = refused(forked('train', 'x', '--size', '8192', '--batch-size', '400', '--out', 'run', cwd=tmp_path))
    assert 'size' in err and 'GB' in err and not (tmp_path/'run').exists()

# ---- odd contents of small files

@pytest.mark.parametrize('row', ['a/0.png,drop,\0', 'a/\0.png,drop,', 'a/0.png,dr\0op,'])
def test_plan_with_nul(row, tmp_path, capsys):
    (tmp_path/'plan.csv').write_text('image,action,to\n' + row + '\n')
    assert 'plan.csv' in one_line(capsys, main(['train', str(two_classes(tmp_path/'x')), '--plan', str(tmp_path/'plan.csv'), '--out', str(tmp_path/'run')]))

@pytest.mark.parametrize('what', [dict(findings=[1], source='x'), dict(findings=[dict(file=1, check='dark')], source='x'), dict(findings=[dict(file='a', check=[1])], source='x'), dict(findings=[{}], source='x'),
                                  dict(findings=[], source=7), dict(findings=[dict(file='a', check='dark')], source=None), dict(findings=[dict(file='a\0', check='dark')], source='x\0')], ids=str)
def test_against_with_wrong_types(what, tmp_path, capsys):
    (tmp_path/'a.json').write_text(json.dumps(what))
    assert 'a.json' in one_line(capsys, main(['check', str(two_classes(tmp_path/'x')), '--against', str(tmp_path/'a.json')]))

@pytest.mark.parametrize('classes', [['a', 7], ['a', None, ['b']], [{'x': 1}, 'a'], [3, 4]], ids=str)
def test_geojson_with_mixed_classes(classes, tmp_path, capsys):
    ring = [[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]
    for i in range(4):
        save(tmp_path/'x'/'images'/f'{i}.png', i, (64, 64)); (tmp_path/'x'/'masks').mkdir(exist_ok=True)
        features = [dict(type='Feature', geometry=dict(type='Polygon', coordinates=[ring]), properties=dict(classification=dict(name=c))) for c in classes]
        (tmp_path/'x'/'masks'/f'{i}.geojson').write_text(json.dumps(dict(type='FeatureCollection', features=features)))
    assert '.geojson' in one_line(capsys, main(['segment', 'train', str(tmp_path/'x'), '--kind', 'class', '--preset', 'tiny', '--out', str(tmp_path/'run')]))

@pytest.mark.parametrize('dial', ['n=9', 'seed=1', 'out=x', 'kind=mri', 'blur=nan', 'blur=inf', 'blur=1e300', 'blur=-1', 'overlap=x', 'per_plate=1e9', 'masks=7'])
@pytest.mark.parametrize('kind', ['cells', 'mri', 'textures'])
def test_dials(kind, dial, tmp_path, capsys):
    code = main(['sample', kind, str(tmp_path/'x'), '--n', '2', '--set', dial])
    if code: one_line(capsys, code); assert not (tmp_path/'x').exists()

@pytest.mark.parametrize('seed', [2**70, -2**70])
def test_sample_of_any_seed(seed, tmp_path): assert main(['sample', 'textures', str(tmp_path/'x'), '--n', '2', '--seed', str(seed)]) == 0

@pytest.mark.parametrize('args', [['lr', 'x', '--figure', 'x.nonsense'], ['lr', 'x', '--figure', 'y'], ['segment', 'view', 'segment', '--out', 'x.nonsense']], ids=' '.join)
def test_figure_of_no_kind(args, runs, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    assert '.png' in one_line(capsys, main(args))

@pytest.mark.parametrize('args', [['predict', 'train', 'x', '--csv', 'F'], ['check', 'x', '--json', 'F'], ['check', 'x', '--plan', 'F'], ['check', 'x', '--html', 'F'], ['check', 'x', '--parquet', 'F'], ['train', 'x', *TINY, '--out', 'run', '--json', 'F'],
                                  ['segment', 'evaluate', 'segment', '--csv', 'F'], ['segment', 'evaluate', 'segment', '--json', 'F'], ['lr', 'x', '--figure', 'F.png'], ['segment', 'predict', 'segment', 'x', '--out', 'file']], ids=' '.join)
def test_a_folder_where_a_file_was_to_be(args, runs, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    (runs/'F').mkdir(); (runs/'F.png').mkdir(); (runs/'file').write_text('')
    err = one_line(capsys, main(args))
    assert args[-1] in err and '.tmp' not in err and not (runs/'run').exists()  # said before the work

# ---- spreadsheets run what begins with =

def formulas(folder):
    "A class and files named as formulas."
    for c in ('=1+1', '-x', 'plain'):
        for i in range(6): save(folder/c/f'{i}.png', seed=100*sum(map(ord, c)) + i)
        save(folder/c/'=HYPERLINK(1).png', seed=100*sum(map(ord, c)) + 9)
    return folder

def cells(path): return [c for line in pd.read_csv(path, header=None, dtype=str, keep_default_na=False).to_numpy() for c in line]
def runs_in_a_spreadsheet(cell):
    try: float(cell); return False
    except ValueError: return cell[:1] in ('=', '+', '-', '@', '\t', '\r')

def test_no_csv_holds_a_formula(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    formulas(Path('x'))
    monkeypatch.chdir(tmp_path/'x'/'=1+1')
    assert main(['train', '..', *TINY, '--out', '../../run']) == 0
    assert main(['predict', '../../run', '=HYPERLINK(1).png', '--csv', '../../p.csv']) == 0
    monkeypatch.chdir(tmp_path)
    assert main(['compare', 'x', *TINY, '--methods', 'majority,logistic', '--seeds', '1', '--out', 'c']) == 0
    assert main(['rerun', 'run']) == 0  # it reads its own table again
    (Path('x')/'=1+1'/'0.png').write_bytes(b'broken')
    assert main(['check', 'x', '--plan', 'x/=1+1/plan.csv']) == 0
    for f in ('run/split.csv', 'run/predictions.csv', 'c/split.csv', 'c/predictions.csv', 'p.csv', 'x/=1+1/plan.csv'):
        bad = [c for c in cells(f) if runs_in_a_spreadsheet(c)]
        assert not bad, (f, bad)
    assert "'=HYPERLINK(1).png" in cells('p.csv')
    plan = Path('x/=1+1/plan.csv').read_text()
    assert main(['train', 'x', *TINY, '--plan', 'x/=1+1/plan.csv', '--out', 'planned', '--json', 'r.json']) == 0, plan
    assert json.loads(Path('r.json').read_text())['classes'] == sorted(['=1+1', '-x', 'plain'])

# ---- the command itself

def test_bare_command_shows_its_help(tmp_path):
    for args in ((), ('segment',)):
        done = run(*args, cwd=tmp_path)
        said = (done.stdout + done.stderr).decode()
        assert said.count('\n') > 10 and '\\n' not in said and 'predict' in said and 'cytokit: ' not in said and done.returncode in (0, 2), said

def test_missing_argument_is_one_line(tmp_path): assert 'train --help' in refused(run('train', cwd=tmp_path))

@pytest.mark.parametrize('raw, word', [(b'', 'empty'), (None, 'same')], ids=['empty', 'copies'])
def test_identical_files_are_the_reason(raw, word, tmp_path, capsys):
    for c in 'ab':
        for i in range(6):
            p = save(tmp_path/'x'/c/f'{i}.png', 0)
            if raw is not None: p.write_bytes(raw)
    err = one_line(capsys, main(['train', str(tmp_path/'x'), *TINY, '--out', str(tmp_path/'run')]))
    assert word in err and '.png' in err

def test_registries_are_complete_from_the_start():
    "In a process of its own: nothing but the module that is asked was imported."
    code = '''
from cytokit.quality.findings import finding, CHECKS
for name in ('mask_empty', 'split_group', 'label_wrong', 'volume_unreadable', 'dark'): assert finding('a.png', name, 'x')['check'] == name
try: finding('a.png', 'mask_of_zorro', 'x')
except ValueError as e: assert 'mask_of_zorro' in str(e)
else: raise SystemExit('an unknown check was taken')
import sys
assert 'torch' not in sys.modules
from cytokit.training.models import build
assert build(dict(kind='unet', n_in=1, n_out=1, width=16, depth=2, fold=1)).spec['kind'] == 'unet'
'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
