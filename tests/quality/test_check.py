"""`cytokit check` on real folders and on bad input."""
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, pytest
from fastparquet import ParquetFile
from PIL import Image as PIL
from cytokit.quality.check import check
from cytokit.cli import main
from cytokit.data.datasets import apply_plan, read_table
from cytokit.quality.duplicates import duplicates
from cytokit.quality.image_checks import image_findings
from cytokit.quality.images import measure_all
from cytokit.data.synthetic import make_cells

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
needs = lambda name: pytest.mark.skipif(not (SHARED/name).exists(), reason=f'{SHARED/name} is not there')

@pytest.fixture
def cells(tmp_path):
    for i in range(14):
        p = tmp_path/'set'/'ab'[i % 2]/f'{i}.png'
        p.parent.mkdir(parents=True, exist_ok=True)
        PIL.fromarray((make_cells(i, 96)[0]/120).clip(0, 255).astype('u1')).save(p)
    return tmp_path/'set'

def names(d, check): return {os.path.basename(f) for f in d['file'][d['check'] == check]}

def test_verb_writes_what_it_says(cells, tmp_path, capsys):
    (cells/'a'/'0.png').write_bytes((cells/'a'/'2.png').read_bytes()[:500])
    shutil.copy(cells/'b'/'1.png', cells/'b'/'again.png')
    out = {k: tmp_path/f'out.{k}' for k in ('html', 'json', 'parquet', 'csv')}
    args = ['check', str(cells), '--html', out['html'], '--json', out['json'], '--parquet', out['parquet'], '--plan',
            out['csv']]
    assert main([*map(str, args), '--fail-on', 'error']) == 1
    found = json.loads(out['json'].read_text())['findings']
    assert {'file', 'check', 'severity', 'value', 'threshold', 'group', 'message'} <= set(found[0])
    assert {(Path(f['file']).name, f['check']) for f in found if f['severity'] == 'error'} == {('0.png', 'unreadable')}
    t = apply_plan(read_table(cells), out['csv'])
    assert len(t) == 13 and '0.png' not in {Path(p).name for p in t['image']}  # the broken one and the copy are gone
    assert len(ParquetFile(out['parquet']).to_pandas()) == 15
    changed = out['csv'].read_text().replace('drop', 'keep', 1).replace('again.png', 'gone.png')
    out['csv'].write_text(changed)
    assert main(['check', str(cells), '--plan', str(out['csv'])]) == 0  # what a person changed stays
    kept, new = out['csv'].read_text().splitlines(), changed.splitlines()
    assert [line.split(',')[:2] for line in kept[:len(new)]] == [line.split(',')[:2] for line in new]
    assert len(kept) == len(new) + 1 and 'again.png' in kept[-1]
    out['csv'].write_text('\n'.join(kept).replace(',keep', ',drop', 1))
    assert main(['train', str(cells), '--plan', str(out['csv']), '--size', '16', '--epochs', '1', '--out',
                 str(tmp_path/'run')]) == 0
    assert len(pd.read_csv(tmp_path/'run'/'split.csv')) == 13

@pytest.mark.parametrize('args',
                         [['nowhere'], ['--fail-on', 'info'], ['--table', 'no.csv'], ['--masks', 'nowhere'],
                          ['--silence', 'no.csv'], ['--against', 'no.json'], ['--executor', 'spark://x'],
                                  ['--executor', 'dask://127.0.0.1:1']], ids=' '.join)
def test_bad_use_is_one_line(args, cells, capsys):
    assert main(['check', *([] if args == ['nowhere'] else [str(cells)]), *args]) == 2
    err = capsys.readouterr().err
    assert err.startswith('cytokit: ') and err.count('\n') == 1 and 'Traceback' not in err

def test_one_bad_file_costs_no_other_and_nothing_is_touched(tmp_path):
    d = tmp_path/'x'; d.mkdir()
    PIL.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype='u1')).save(d/'good.png')
    (d/'empty.png').write_bytes(b'')
    (d/'page.png').write_text('<html>')
    (d/'dir.png').mkdir()
    (d/'half.tif').write_bytes(b'II*\0\x08\0\0\0')
    (d/'link.png').symlink_to('gone.png')
    PIL.fromarray(np.zeros((4, 4), 'u1')).save(d/'black.png')
    PIL.fromarray(np.full((1, 1), 7, 'u1')).save(d/'dot.png')
    (d/'odd\nname.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    before = {p: p.read_bytes() for p in d.rglob('*') if p.is_file()}
    q = check(d)
    q.to_html(tmp_path/'p.html')
    assert names(q.findings, 'unreadable') >= {'empty.png', 'page.png', 'half.tif', 'odd\nname.png'}
    assert names(q.findings, 'blank') == {'black.png', 'dot.png'}
    assert {p: p.read_bytes() for p in d.rglob('*') if p.is_file()} == before

def test_killed_check_keeps_what_it_has(tmp_path):
    r = np.random.default_rng(0)
    for i in range(1200):
        PIL.fromarray(r.integers(0, 255, (200, 200), dtype='u1')).save(tmp_path/f'{i}.png', compress_level=0)
    code = f'from cytokit.quality.check import check; check({str(tmp_path)!r})'
    env = dict(os.environ, CYTOKIT_CACHE=str(tmp_path/'cache'), IN_TEST='1')
    p = subprocess.Popen([sys.executable, '-c', code], env=env)
    import sqlite3
    def rows():
        file = next((tmp_path/'cache'/'quality').glob('*.sqlite'))
        return sqlite3.connect(file).execute('select count(*) from rows').fetchone()[0]
    for _ in range(600):
        time.sleep(.05)
        try:
            if rows(): break
        except (StopIteration, sqlite3.Error): pass
    p.send_signal(signal.SIGINT); p.wait()
    kept = rows()
    assert kept >= 500
    subprocess.run([sys.executable, '-c', code], env=env, check=True)
    assert rows() == 1200

@pytest.mark.skipif(sys.platform != 'linux', reason='processes are forked on Linux only')
def test_workers(tmp_path):
    (tmp_path/'x.py').write_text("""
import os, threading, time
from cytokit.core import InputError, parallel_map, workers
with workers() as ex: print(ex.submit(os.getpid).result() != os.getpid())
print(parallel_map(abs, range(-99, 0), processes=True) == [*range(99, 0, -1)])
try: parallel_map(int, [1, 'x', 2], processes=True)
except ValueError as e: print('invalid' in str(e))
try:
    with workers() as ex: list(ex.map(os._exit, [1]))
except InputError as e: print(e)
threading.Thread(target=time.sleep, args=[.5]).start()
with workers() as ex: print(ex.submit(os.getpid).result() == os.getpid())
""")
    said = subprocess.run([sys.executable, tmp_path/'x.py'], capture_output=True, text=True).stdout.splitlines()
    assert said[:3] + said[4:] == ['True']*4 and 'was killed' in said[3]

@needs('nuclei')
def test_most_real_nuclei_are_not_dark():
    files = pd.read_csv(SHARED/'nuclei'/'images.csv').query('split == "train"')
    column = next(c for c in files if c in ('image', 'file', 'id'))
    paths = [p for p in (SHARED/'nuclei'/'images').iterdir() if p.stem in {Path(str(x)).stem for x in files[column]}]
    d = image_findings(measure_all(paths))
    assert len(paths) > 300 and not (d['severity'] == 'error').any() and len(names(d, 'dark')) < .01*len(paths)
    assert len(names(d, 'blurred')) < .02*len(paths)

@needs('cytounet_examples')
def test_the_burnt_in_clock_is_found_and_nothing_else():
    for part in ('train', 'validation', 'test'):
        q = check(SHARED/'cytounet_examples'/'a549_phase'/part/'images')
        assert names(q.findings, 'marks') == {f'{i}.png' for i in range(1, 11)}
        assert q.findings['message'][q.findings['check'] == 'marks'].str.contains('the box 0.94 0.').all()  # lower left

@needs('bccd')
def test_real_duplicate_in_blood_smears():
    assert len(duplicates(measure_all(list((SHARED/'bccd').rglob('*.jpg'))))) == 1

def test_masks_of_a_folder_come_into_the_plan(tmp_path):
    for i in range(12):
        a, m = make_cells(i, 96)
        for k, x in (('images', a), ('masks', m)):
            (tmp_path/'set'/k).mkdir(parents=True, exist_ok=True)
            if (k, i) == ('masks', 3): x = np.zeros_like(x)
            if (k, i) == ('masks', 5): x = x[:50]
            PIL.fromarray(x).save(tmp_path/'set'/k/f'{i}.png')
    q = check(tmp_path/'set', masks=tmp_path/'set'/'masks')
    assert names(q.findings, 'mask_empty') == {'3.png'} and names(q.findings, 'mask_shape') == {'5.png'}
    assert set(q.plan().query('action == "fix"')['image']) == {str(tmp_path/'set'/'images'/f'{i}.png') for i in (3, 5)}
    q.to_html(tmp_path/'p.html')
    assert (tmp_path/'p.html').read_text().count('the mask') >= 2
