"Tables, splits and downloads where they meet the world: odd CSVs, real folders, a real HTTP server, hostile archives."
import http.server, io, itertools, json, os, shutil, tarfile, threading, warnings, zipfile
from pathlib import Path
import numpy as np, pandas as pd, pytest
from cytokit.data import datasets
from cytokit.core import InputError, rng
from cytokit.data.catalogue import CATALOGUE, _unpack, fetch
from cytokit.data.datasets import (_deal, check_table, classes, fold_table, read_table, save_table, split_table,
                                   table_digest)
from cytokit.data.pairs import pair_table
from cytokit.data.groups import shuffle_targets

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f'{SHARED} is not here')

def refused(f, *parts):
    "`f` raises an InputError of one line that holds each of `parts`."
    with pytest.raises(InputError) as e: f()
    message = str(e.value)
    assert message.isprintable(), message
    for p in parts: assert p in message, message

def write(folder, rows, header='image,target,group', sep=','):
    "Files with different content and a CSV that names them."
    folder.mkdir(parents=True, exist_ok=True)
    for i, r in enumerate(rows):
        p = folder/r[0]
        p.parent.mkdir(parents=True, exist_ok=True)
        if not p.exists(): p.write_bytes(b'%d' % i)
    (folder/'table.csv').write_text('\n'.join([header, *(sep.join(r) for r in rows)]) + '\n', encoding='utf-8')
    return folder/'table.csv'

def patients(folder, n=12, each=5):
    return read_table(write(folder,
                            [(f'{p}_{i}.png', 'ab'[p % 3 == 0], f'p{p}') for p in range(n) for i in range(each)]))

# --- CSV

ODD = ['with space.png', 'comma,.png', "quote'\".png", 'new\nline.png', 'return\r.png', 'crlf\r\n.png',
       '細胞/Zellen-ä.png', ' lead.png', 'semi;colon.png',
       '=1+1.png', 'tab\t.png', 'back\\slash.png', 'emoji🔬.png', 'x'*200 + '.png', os.fsdecode(b'latin-\xe4.png')]

def test_odd_names_survive_a_round_trip(tmp_path):
    for i, n in enumerate(ODD*2):
        p = tmp_path/'set'/f'{"ab"[i % 2]} ,"\n'/(str(i) + n)
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(b'%d' % i)
    t = split_table(read_table(tmp_path/'set'))
    assert len(t) == 2*len(ODD) and t.target.nunique() == 2
    for place in (tmp_path/'runs'/'split.csv', tmp_path/'set'/'table.csv'):
        back = read_table(save_table(t, place))
        assert list(back.image) == list(t.image) and list(back.split) == list(t.split)
        assert table_digest(back.assign(target=t.target)) == table_digest(t)
    old = table_digest(back)
    shutil.move(tmp_path/'set', tmp_path/'moved')
    moved = read_table(tmp_path/'moved')
    assert table_digest(moved) == old and str(tmp_path/'moved') in moved.image[0]

def test_absolute_paths_and_links(tmp_path):
    t = patients(tmp_path/'set')
    (tmp_path/'abs.csv').write_text('image,target\n' + ''.join(f'{p},{c}\n' for p, c in zip(t.image, t.target)))
    assert list(read_table(tmp_path/'abs.csv').image) == list(t.image)
    (tmp_path/'link').symlink_to(tmp_path/'set')
    (tmp_path/'far'/'away').mkdir(parents=True)
    (tmp_path/'near').symlink_to(tmp_path/'far'/'away')
    for t in (read_table(tmp_path/'link'), patients(tmp_path/'set')):
        assert table_digest(read_table(save_table(t, tmp_path/'near'/'t.csv'))) == table_digest(t)

@pytest.mark.parametrize('raw',
                         ['\ufeffimage,target\na.png,x\nb.png,y\n'.encode(), b'image;target\r\na.png;x\r\nb.png;y\r\n',
                          b'image\ttarget\na.png\tx\nb.png\ty',
    'image,target\na.png,x\nb.png,y\n'.encode('utf-16'), b'target,extra,image\nx,,a.png\ny,,b.png\n',
    b'image,target\n\na.png , x\n"b.png","y"\n\n', b'image,target,,\na.png,x,,\nb.png,y,,\n',
    b'image,target\rb.png,y\ra.png,x\r', b'image,target\n./a.png,x\n.\\b.png,y\n'])
def test_csv_dialects(tmp_path, raw):
    for n in ('a.png', 'b.png', 'a.png '): (tmp_path/n).write_bytes(n.encode())
    (tmp_path/'t.csv').write_bytes(raw)
    t = read_table(tmp_path/'t.csv')
    assert sorted(os.path.basename(p).strip() for p in t.image) == ['a.png', 'b.png'] and sorted(t.target) == ['x', 'y']

@pytest.mark.parametrize('raw, parts', [
    (b'', ["'image'"]), (b'image,target\n', ['holds no image']),
    (b'file,label\na.png,x\n', ['file, label', 'image=NAME']), (b'image\na.png\n', ["'target'"]),
    (b'image,image,target\na.png,b.png,x\n', ["one column 'image'"]),
    (b'image,target\na.png\n', ['line 2', '1 cells']), (b'image,target\na,b.png,x\n', ['line 2', '3 cells', 'quote']),
    (b'image,target\n"a.png,x\n', ['not CSV']), (b'image,target\n"a"b.png,x\n', ['line 2']),
    (b'image,target\na.png,\nb.png,x\n', ['1 of 2 images have no target', 'a.png']),
    (b'image,target\n,x\n', ['1 of 1 rows have no image']), (b'image,target\na.png,0.5\nb.png,nan\n', ['finite']),
    (b'image,target\na.png,0.5\nb.png,inf\n', ['finite']),
    (b'image,target\na.png,x\nno1.png,x\nno2.png,x\n', ['2 of 3 images are missing', 'no1.png']),
    (b'image,target\na.png,x\na.png,y\n', ['a.png', '2 rows']),
    (b'image,target\na.png,x\n./sub/../a.png,y\n', ['a.png', '2 rows']),
    (b'image,target,group\na.png,x,1\na.png,x,2\n', ['2 rows']), (b'image,target,split\na.png,x,dev\n', ["'dev'"]),
    (b'image,target\na.png,K\xf6rper\n', ['UTF-8']), (b'image,target\na\x00.png,x\n', ['zero byte']),
    (b'image,target\n/dev/zero,x\n', ['missing']), (b'image,target\n\xff\xd8\xff\xe0,x\n', ['missing']),
    (b'image,target\na.png,m1.png\nb.png,m2.png\n', ['2 of 2 masks are missing', 'm1.png']),
    (b'image,target\na.png,' + b'x'*200_000 + b'\n', ['not CSV']), (os.urandom(4096), ['not ']),
    (b'\xff\xfei\x00m\x00a', ['not text'])])
def test_csv_refused_in_one_line(tmp_path, raw, parts):
    for n in ('a.png', 'b.png'): (tmp_path/n).write_bytes(n.encode())
    (tmp_path/'bad\n.csv').write_bytes(raw)
    refused(lambda: read_table(tmp_path/'bad\n.csv'),
            'bad\\n.csv' if parts != ['a.png', '2 rows'] and parts != ['2 rows'] else 'a.png', *parts)

def test_nothing_is_evaluated(tmp_path):
    (tmp_path/'a.png').write_bytes(b'a'); (tmp_path/'b.png').write_bytes(b'b')
    evil = f"__import__('os').system('touch {tmp_path}/owned')"
    (tmp_path/'t.csv').write_text(f'image,target,group\na.png,"{evil}","@{evil}"\nb.png,"[1,2]",None\n')
    t = read_table(tmp_path/'t.csv')
    assert list(t.target) == [evil, '[1,2]'] and t.group[1] == 'None' and not (tmp_path/'owned').exists()

def test_repeated_rows_are_left_out_with_a_warning(tmp_path):
    csv = write(tmp_path, [('a.png', 'x', ''), ('a.png', 'x', ''), ('b.png', 'y', '')])
    with pytest.warns(UserWarning, match='1 row repeat'): assert len(read_table(csv)) == 2

def test_tasks(tmp_path):
    def task(values, sep=',', **kw):
        csv = write(tmp_path, [(f'{i}.png', v) for i, v in enumerate(values)], f'image{sep}target', sep)
        return read_table(csv, **kw)
    assert task(['1', '2', '1', '2']).attrs['task'] == 'class'
    assert list(task(['1', '2', '1', '2']).target) == ['1', '2', '1', '2']
    assert task(['1', '2', '1', '2'], task='number').target.tolist() == [1., 2., 1., 2.]
    assert task(['31', '40', '58']).attrs['task'] == 'number'
    assert task(['0,5', '1,25'], sep=';').target.tolist() == [.5, 1.25]
    assert task(['01', 'b', '01']).attrs['task'] == 'class'
    assert classes(task(['10', '2', '2', '10'])) == ['2', '10']
    refused(lambda: task(['a', 'b'], task='number'), "task='class'")
    refused(lambda: task(['a', 'b'], task='klass'), "'klass'")
    refused(lambda: classes(task(['.5', '.7'])), 'number')
    for values, kind in ((['31', '40', '58'], 'class'), (['.5', '1.5'], 'class'), (['0', '1', '0', '1'], 'number')):
        t = task(values, task=kind)
        back = read_table(save_table(t, tmp_path/'back.csv'))
        assert back.attrs['task'] == kind and back.target.tolist() == t.target.tolist()
        assert list(back) == ['image', 'target']
    (tmp_path/'m.tif').write_bytes(b'm')
    t = task(['m.tif', 'm.tif'])
    assert t.attrs['task'] == 'mask' and t.target[0] == str(tmp_path/'m.tif')
    back = read_table(save_table(t, tmp_path/'sub'/'t.csv'))
    assert back.target.tolist() == t.target.tolist() and table_digest(back) == table_digest(t)

# --- folders

def files(root, *names):
    for n in names: (root/n).parent.mkdir(parents=True, exist_ok=True); (root/n).write_bytes(n.encode())
    return root

def test_class_folders(tmp_path):
    d = files(tmp_path/'a', 'x/1.png', 'x/deep/er/2.png', 'y/1.png', 'y/notes.txt', '.hidden/3.png', 'y/.4.png')
    t = read_table(d)
    assert list(t.target) == ['x', 'x', 'y'] and list(t) == ['image', 'target']
    d = files(tmp_path/'b', 'train/x/1.png', 'Validation/x/2.png', 'val/y/3.png', 'test/y/4.png', 'train/y/5.png')
    assert dict(zip(read_table(d).image.map(os.path.basename), read_table(d).split)) == {'1.png': 'train', '2.png': 'valid', '3.png': 'valid', '4.png': 'test', '5.png': 'train'}
    assert 'split' not in read_table(files(tmp_path/'c', 'test/1.png', 'control/2.png'))  # a class may be called test
    refused(lambda: read_table(files(tmp_path/'b', 'more/x/6.png')), 'more', 'train')
    refused(lambda: read_table(files(tmp_path/'d', '1.png', 'x/2.png')), '1.png', 'class folder')
    refused(lambda: read_table(files(tmp_path/'e', 'train/1.png', 'train/x/2.png')), '1.png')
    (tmp_path/'f').mkdir()
    refused(lambda: read_table(tmp_path/'f'), 'no image')
    refused(lambda: read_table(tmp_path/'nowhere'), 'nowhere')
    refused(lambda: read_table('x'*5000), 'no such')
    refused(lambda: read_table('a\0b'), 'no such')
    refused(lambda: read_table(tmp_path/'d'/'1.png'), 'is an image')
    refused(lambda: read_table(files(tmp_path/'g', 'x/1.png'), group='('), 'regular expression')
    write(tmp_path/'a', [('x/1.png', 'wins', '')])
    assert list(read_table(tmp_path/'a').target) == ['wins']

def test_pairs(tmp_path):
    d = files(tmp_path/'a', 'images/s1/a.png', 'images/s2/a.png', 'images/b_img.nii.gz', 'masks/s1/a_mask.png',
              'masks/s2/a-seg.tif', 'masks/b_label.nii.gz')
    t = pair_table(d/'images', d/'masks', group=r'^(s\d|b)')
    assert [Path(m).relative_to(d/'masks').as_posix() for m in t.target] == ['b_label.nii.gz', 's1/a_mask.png', 's2/a-seg.tif'] or len(t) == 3
    assert all(Path(i).parent.name == Path(m).parent.name or Path(i).name.startswith('b')
               for i, m in zip(t.image, t.target))
    assert t.group.nunique() == 3
    d = files(tmp_path/'side', '1.png', '1_mask.png', '2.png', '2_mask.png')
    assert pair_table(d, d).target.map(os.path.basename).tolist() == ['1_mask.png', '2_mask.png']
    d = files(tmp_path/'b', 'i/a.png', 'i/b.png', 'm/a.png', 'm/c.png')
    refused(lambda: pair_table(d/'i', d/'m'), '2 files have no partner', 'b.png')
    assert len(pair_table(d/'i', d/'m', drop=True)) == 1
    d = files(tmp_path/'c', 'i/a.png', 'm/a_mask.png', 'm/a_seg.png')
    refused(lambda: pair_table(d/'i', d/'m'), 'two masks fit')

# --- splits

def hitting(c):
    "Can whole rows of `c` be parted in two so that both parts have every column? By trying all."
    return any(all((c[np.array(m) == s].sum(0) > 0).all() for s in (0, 1))
               for m in itertools.product((0, 1), repeat=len(c)))

def test_every_class_on_both_sides_whenever_possible():
    possible = 0
    for s in range(300):
        r = np.random.default_rng(s)
        c = (r.random((r.integers(2, 9), r.integers(2, 6))) < .35)*r.integers(1, 20)
        c = c[c.sum(1) > 0][:, c[c.sum(1) > 0].sum(0) > 0]
        if len(c) < 2 or not hitting(c): continue
        possible += 1
        part = _deal(c, [.75, .25], rng(s))
        assert all((c[part == k].sum(0) > 0).all() for k in (0, 1)), (s, c)
    assert possible > 50

def test_dealing_is_no_worse_than_scikit_learn():
    from sklearn.model_selection import StratifiedGroupKFold
    def worst(c, part): return np.abs(np.stack([c[part == s].sum(0) for s in range(4)])/c.sum(0) - .25).max()
    ours, theirs = [], []
    for s in range(20):
        r = np.random.default_rng(s)
        c = np.stack([r.multinomial(r.integers(1, 31), r.dirichlet([.4]*3)) for _ in range(24)])
        y, g = np.concatenate([np.repeat(np.arange(3), row) for row in c]), np.repeat(np.arange(24), c.sum(1))
        part = np.zeros(24, int)
        for i, (_, v) in enumerate(StratifiedGroupKFold(4, shuffle=True, random_state=s).split(y, y, g)):
            part[np.unique(g[v])] = i
        ours.append(worst(c, _deal(c, [.25]*4, rng(s)))); theirs.append(worst(c, part))
    assert np.mean(ours) <= np.mean(theirs), (np.mean(ours), np.mean(theirs))

def test_split_depends_on_seed_alone(tmp_path):
    t = patients(tmp_path/'one')
    a = split_table(t, test=.2, seed=4)
    b = split_table(t.sample(frac=1, random_state=1).reset_index(drop=True), test=.2, seed=4)
    assert dict(zip(a.image, a.split)) == dict(zip(b.image, b.split))
    shutil.copytree(tmp_path/'one', tmp_path/'z'/'two')
    assert list(split_table(read_table(tmp_path/'z'/'two'), test=.2, seed=4).split) == list(a.split)
    assert len({tuple(split_table(t, seed=s).split) for s in range(5)}) > 1
    assert set(a.split) == {'train', 'valid', 'test'} and a.groupby('group').split.nunique().max() == 1
    assert table_digest(a) == table_digest(b) != table_digest(t) and 'split' not in t
    assert len(check_table(a)) == len(t)

def test_given_splits_stay(tmp_path):
    d = files(tmp_path, *(f'{s}/{c}/{i}.png' for s in ('train', 'test') for c in 'xy' for i in range(8)))
    t = read_table(d)
    refused(lambda: check_table(t), 'no image is in valid')
    u = split_table(t)
    assert ((u.split == 'test') == (t.split == 'test')).all() and (u.split == 'valid').sum() == 4
    assert split_table(u, seed=9).split.equals(u.split)
    t.loc[0, 'split'] = np.nan
    refused(lambda: split_table(t), '31 of 32')

def test_impossible_splits_are_named(tmp_path):
    t = patients(tmp_path)
    refused(lambda: split_table(t[t.group == 'p1']), '1 group', 'p1')
    refused(lambda: split_table(t[(t.target == 'a') | (t.group == 'p0')]), "class 'b' has 5 images in 1 group")
    u = t.drop(columns='group')
    refused(lambda: split_table(u[(u.target == 'a') | (u.index == 0)]), "class 'b' has 1 image in 1 group")
    refused(lambda: check_table(u[(u.target == 'a') | (u.index == 0)]), "class 'b' has one image")
    refused(lambda: check_table(t[t.target == 'a']), 'two classes')
    refused(lambda: check_table(t.drop(columns='target')), "'target'")
    refused(lambda: split_table(t[:0]), 'too few')
    refused(lambda: fold_table(t, 5), 'in 4 groups')
    for kw in (dict(valid=0), dict(valid=.6, test=.4), dict(by='plate'), dict(valid=float('nan'))):
        refused(lambda: split_table(t, **kw))
    lone = t.assign(group=np.where(t.target == 'b', 'g1', np.where(t.index % 2, 'g1', 'g2')))
    refused(lambda: split_table(lone), "class 'b'")

def test_leaks_are_errors(tmp_path):
    t = patients(tmp_path)
    leaky = split_table(t, by='image')
    refused(lambda: check_table(leaky), 'leak', 'group', 'split_table')
    check_table(leaky, allow_leak=True)
    u = t.drop(columns='group')
    good = split_table(u)
    a, b = good.image[good.split == 'train'].iloc[0], good.image[good.split == 'valid'].iloc[0]
    shutil.copy(a, b)
    refused(lambda: check_table(good), 'leak: 1 image', os.path.basename(a))
    for s in range(8): check_table(split_table(u, seed=s))  # the same bytes go the same way
    refused(lambda: check_table(pd.concat([good, good[:1].assign(target='b')])), '2 rows')
    os.remove(a)
    refused(lambda: table_digest(good), os.path.basename(a), 'No such file')

def test_missing_groups_are_single_images(tmp_path):
    t = patients(tmp_path)
    t.loc[t.index % 5 < 3, 'group'] = np.nan
    u = check_table(split_table(t))
    assert u[u.group.notna()].groupby('group').split.nunique().max() == 1
    assert abs((u.split == 'valid').mean() - .25) < .03

def test_numbers_and_masks_split_too(tmp_path):
    t = patients(tmp_path, 20)
    n = t.assign(target=np.random.default_rng(0).normal(size=len(t)).cumsum())
    n.attrs['task'] = 'number'
    u = check_table(split_table(n))
    assert u.groupby('group').split.nunique().max() == 1
    assert table_digest(read_table(save_table(u, tmp_path/'n.csv'))) == table_digest(u)
    m = t.assign(target=t.image)
    m.attrs['task'] = 'mask'
    assert abs((check_table(split_table(m)).split == 'valid').mean() - .25) < .06

def test_shuffled_targets_say_nothing_but_go_by_group(tmp_path):
    t = patients(tmp_path, 24)
    for s in range(5):
        u = shuffle_targets(t, seed=s)
        assert u.groupby('group').target.nunique().max() == 1 and list(u.image) == list(t.image)
        share = pd.crosstab(t.target, u.target, normalize='index')['b']
        assert abs(share['a'] - share['b']) < .1
    assert shuffle_targets(t, 1).target.tolist() != shuffle_targets(t, 2).target.tolist()
    back = shuffle_targets(t.sample(frac=1, random_state=0), 1).sort_index()
    assert back.target.tolist() == shuffle_targets(t, 1).target.tolist()
    plain = shuffle_targets(t.drop(columns='group'))
    assert sorted(plain.target) == sorted(t.target) and plain.groupby(t.group).target.nunique().max() == 2

# --- downloads

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    def handle_error(self, *a): pass  # broken on purpose

@pytest.fixture
def web(tmp_path, monkeypatch):
    "A real server: /good/NAME whole, /half/NAME breaks off, all else 404."
    store, hits = {}, []
    class H(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            kind, name = self.path.split('?')[0].split('/')[1:3]
            if name not in store or kind not in ('good', 'half'): return self.send_error(404)
            data = store[name]
            self.send_response(200); self.send_header('Content-Length', str(len(data))); self.end_headers()
            self.wfile.write(data if kind == 'good' else data[:len(data)//2])
        def log_message(self, *a): pass
    s = Server(('127.0.0.1', 0), H)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    monkeypatch.setenv('CYTOKIT_CACHE', str(tmp_path/'cache'))
    monkeypatch.delenv('CYTOKIT_DATA', raising=False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    s.store, s.hits, s.url = store, hits, f'http://127.0.0.1:{s.server_port}'
    yield s
    s.shutdown(); s.server_close()

def entry(monkeypatch, url, data, layout='classes', **kw):
    import hashlib
    e = dict(what='a test', licence='CC0', cite='nobody', layout=layout, root='top',
             files=[(url, 'sha256:' + hashlib.sha256(data).hexdigest(), len(data))], **kw)
    monkeypatch.setitem(CATALOGUE, 'toy', e)
    return e

def a_zip(names=('top/cat/1.png', 'top/cat/2.png', 'top/dog/1.png', '__MACOSX/top/cat/._1.png', 'top/dog/Thumbs.db'),
          **special):
    b = io.BytesIO()
    with zipfile.ZipFile(b, 'w') as z, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # a name twice, on purpose
        for n in names: z.writestr(n, n)
        for n, (data, mode) in special.items():
            i = zipfile.ZipInfo(n.replace('__', '/')); i.external_attr = mode << 16
            z.writestr(i, data)
    return b.getvalue()

def kept(tmp_path): return [p for p in tmp_path.rglob('*') if p.is_file()]

def test_a_good_download(web, tmp_path, monkeypatch):
    web.store['toy.zip'] = a_zip()
    entry(monkeypatch, web.url + '/good/toy.zip?download=1', web.store['toy.zip'])
    d = fetch('toy')
    assert d == tmp_path/'cache'/'data'/'toy' and json.loads((d/'source.json').read_text())['licence'] == 'CC0'
    t = read_table(d)
    assert list(t.target) == ['cat', 'cat', 'dog']
    assert fetch('toy') == d and len(web.hits) == 1  # complete: not fetched again
    assert sorted(p.name for p in (tmp_path/'cache').rglob('*.zip')) == []  # the archive is not kept twice
    assert fetch('toy', tmp_path/'mine') == tmp_path/'mine' and len(read_table(tmp_path/'mine')) == 3
    (tmp_path/'full').mkdir(); (tmp_path/'full'/'thesis.txt').write_text('do not touch')
    refused(lambda: fetch('toy', tmp_path/'full'), 'not empty')

@pytest.mark.parametrize('kind', ['corrupt', 'half', 'gone', 'silent'])
def test_a_bad_download_leaves_nothing(web, tmp_path, monkeypatch, kind):
    data = a_zip()
    url = {'corrupt': '/good/toy.zip', 'half': '/half/toy.zip', 'gone': '/good/other.zip', 'silent': ''}[kind]
    entry(monkeypatch, web.url + url, data)
    web.store['toy.zip'] = data[:-9] + b'corrupted' if kind == 'corrupt' else data
    if kind == 'silent':
        web.shutdown(); web.server_close()
        entry(monkeypatch, f'{web.url}/good/toy.zip', data)
    word = {'corrupt': 'not the published file', 'half': 'cannot be downloaded', 'gone': 'HTTP 404',
            'silent': 'ConnectionError'}[kind]
    refused(lambda: fetch('toy', tmp_path/'set'), 'toy', word)
    assert kept(tmp_path) == [] and not (tmp_path/'set').exists()
    if kind == 'half':
        entry(monkeypatch, web.url + '/good/toy.zip', data)  # the line is fixed
        assert len(read_table(fetch('toy', tmp_path/'set'))) == 3

def test_a_local_folder_stands_in(web, tmp_path, monkeypatch):
    data = a_zip()
    entry(monkeypatch, web.url + '/good/toy.zip?download=1', data)
    monkeypatch.setenv('CYTOKIT_DATA', str(tmp_path/'usb'))
    refused(lambda: fetch('toy'), 'toy.zip', 'no such file')
    (tmp_path/'usb'/'toy').mkdir(parents=True)
    (tmp_path/'usb'/'toy'/'toy.zip').write_bytes(data[:-1])
    refused(lambda: fetch('toy'), 'hash differs')
    (tmp_path/'usb'/'toy'/'toy.zip').write_bytes(data)
    assert len(read_table(fetch('toy'))) == 3 and web.hits == []
    assert (tmp_path/'usb'/'toy'/'toy.zip').exists()  # the original stays
    assert len(read_table(fetch('toy', tmp_path/'b', local=tmp_path/'usb'))) == 3

def tar(members):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode='w:gz') as z:
        for name, kind, link in members:
            i = tarfile.TarInfo(name); i.type = kind; i.linkname = link
            i.size = 1 if kind == tarfile.REGTYPE else 0
            z.addfile(i, io.BytesIO(b'x') if i.size else None)
    return b.getvalue()

HOSTILE = dict(slip=a_zip(['top/a/1.png', '../../escaped.png']), absolute=a_zip(['/tmp/cytokit-escaped.png']),
               windows=a_zip(['top\\..\\..\\escaped.png']), drive=a_zip(['C:\\escaped.png']),
    link=a_zip(['top/a/1.png'], top__l=('/etc', 0o120777)), twice=a_zip(['top/a/1.png', 'top/a/1.png']),
    into_file=a_zip(['top/a', 'top/a/1.png']), cut=a_zip()[:-60], text=b'no archive',
    tar_slip=tar([('../escaped', tarfile.REGTYPE, '')]),
    tar_link=tar([('top/l', tarfile.SYMTYPE, '/'), ('top/l/escaped', tarfile.REGTYPE, '')]),
    tar_hard=tar([('h', tarfile.LNKTYPE, '/etc/passwd')]),
    tar_fifo=tar([('f', tarfile.FIFOTYPE, '')]), tar_dev=tar([('d', tarfile.CHRTYPE, '')]),
    tar_cut=tar([(f'{i}', tarfile.REGTYPE, '') for i in range(99)])[:-200])

@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_archives(tmp_path, monkeypatch, name):
    (tmp_path/'usb').mkdir(); (tmp_path/'usb'/'toy.bin').write_bytes(HOSTILE[name])
    entry(monkeypatch, 'https://example.org/toy.bin', HOSTILE[name])
    before = set(kept(tmp_path))
    refused(lambda: fetch('toy', tmp_path/'in'/'set', local=tmp_path/'usb'), 'toy.bin', 'do not trust')
    assert set(kept(tmp_path)) == before and not (tmp_path/'in'/'set').exists()
    assert not os.path.exists('/tmp/cytokit-escaped.png')

def test_an_archive_that_swells(tmp_path):
    with zipfile.ZipFile(tmp_path/'b.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for i in range(4): z.writestr(f'{i}', bytes(2**20))
    refused(lambda: _unpack(tmp_path/'b.zip', tmp_path/'out', limit=3*2**20), 'more than 3 MB')

def test_medmnist_becomes_folders_of_png(tmp_path, monkeypatch):
    from PIL import Image
    r = np.random.default_rng(0)
    for shape in ((28, 28), (28, 28, 3)):
        arrays = {f'{s}_images': r.integers(0, 255, (n, *shape), np.uint8)
                  for s, n in (('train', 8), ('val', 4), ('test', 4))}
        arrays |= {f'{s}_labels': (np.arange(n) % 2)[:, None].astype(np.uint8)
                   for s, n in (('train', 8), ('val', 4), ('test', 4))}
        b = io.BytesIO(); np.savez_compressed(b, **arrays)
        (tmp_path/'toy.npz').write_bytes(b.getvalue())
        entry(monkeypatch, 'https://example.org/toy.npz', b.getvalue(), 'npz', classes=['normal, benign', 'malignant'])
        t = check_table(read_table(fetch('toy', tmp_path/f'{len(shape)}', local=tmp_path)))
        assert t.split.value_counts().to_dict() == dict(train=8, valid=4, test=4)
        assert classes(t) == ['malignant', 'normal, benign']
        first = t.image[(t.split == 'train') & (t.target == 'malignant')].iloc[0]
        assert (np.asarray(Image.open(first)) == arrays['train_images'][1]).all()

@pytest.mark.parametrize('arrays',
                         [dict(a=np.zeros(3)), dict(train_images=np.array([dict()], object), train_labels=np.zeros(1)),
                          None])
def test_a_wrong_npz_is_refused_and_never_unpickled(tmp_path, monkeypatch, arrays):
    b = io.BytesIO(b'text')
    if arrays: b = io.BytesIO(); np.savez(b, **arrays)
    (tmp_path/'toy.npz').write_bytes(b.getvalue())
    entry(monkeypatch, 'https://example.org/toy.npz', b.getvalue(), 'npz', classes=['x', 'y'])
    refused(lambda: fetch('toy', tmp_path/'set', local=tmp_path), 'not a MedMNIST file')
    assert not (tmp_path/'set').exists()

def test_masks_with_splits(tmp_path, monkeypatch):
    data = a_zip([f'{s}/{k}/{s}_{i}.tif' for s in ('train', 'test') for k in ('images', 'masks') for i in range(3)])
    (tmp_path/'toy.zip').write_bytes(data)
    entry(monkeypatch, 'https://example.org/toy.zip', data, 'masks',
          pairs=[(s, f'{s}/images', f'{s}/masks') for s in ('train', 'test')], group=r'_(\d)')
    t = read_table(fetch('toy', tmp_path/'set', local=tmp_path))
    assert t.attrs['task'] == 'mask' and t.split.value_counts().to_dict() == dict(train=3, test=3)
    assert t.group.nunique() == 3

def test_the_catalogue_is_complete():
    for name, e in CATALOGUE.items():
        assert e['what'] and e['licence'] and e['cite'] and e['layout'] in ('npz', 'classes', 'masks'), name
        for url, known, size in e['files']:
            assert url.startswith('https://') and known.split(':')[0] in ('md5', 'sha256')
            assert (size is None or size > 1e5)
    refused(lambda: fetch('bloodmnits'), 'bloodmnist')
    refused(lambda: fetch('?'), 'catalogue')

def test_malaria_groups_are_patients():
    find = lambda n: datasets.find_group(CATALOGUE['malaria']['group'], n)
    assert find('Parasitized/C33P1thinF_IMG_20150619_114756a_cell_179.png') == find('Uninfected/C33P1thinF_IMG_20150619_115740a_cell_3.png') == 'P1'
    assert find('Uninfected/C1_thinF_IMG_20150604_104722_cell_60.png') == 'C1'

# --- real sets

@shared
def test_real_mri_splits_by_patient():
    t = read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient')
    assert (len(t), t.group.nunique(), classes(t)) == (216, 5, ['FLAIR', 'T1W', 'T2W'])
    u = check_table(split_table(t))
    assert u.groupby('group').split.nunique().max() == 1 and u.groupby('split').target.nunique().tolist() == [3, 3]
    same = read_table(SHARED/'open_ms_contrast', group=r'(patient\d+)')
    assert table_digest(same) == table_digest(t)  # from folders or from the CSV: the same set
    refused(lambda: read_table(SHARED/'open_ms_contrast'/'slices.csv'), 'file, contrast, patient')

@shared
def test_real_blood_cells_with_a_lone_class():
    t = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    refused(lambda: check_table(t), 'basophil')
    refused(lambda: split_table(t), 'basophil')
    assert check_table(split_table(t[t.target != 'basophil'])).groupby('split').target.nunique().tolist() == [4, 4]
    assert len(pair_table(SHARED/'wbc_segmentation'/'dataset1'/'images',
                          SHARED/'wbc_segmentation'/'dataset1'/'masks')) == 300

@shared
def test_real_photographs_keep_their_split():
    t = check_table(split_table(read_table(SHARED/'clothing10')))
    assert t.split.value_counts().to_dict() == dict(train=1100, valid=341) and len(classes(t)) == 10

@pytest.mark.parametrize('text', ['image,Größe\na.png,1\n', 'image,target,Größe\na.png,1,2\n', 'image,target\na.png,Färbung\n',
                                  'image,target\nFärbung.png,1\n'])
def test_a_table_in_cp1252_is_refused_with_what_to_do(tmp_path, text):
    (tmp_path/'a.png').touch()
    (tmp_path/'t.csv').write_bytes(text.encode('cp1252'))
    with pytest.raises(InputError) as e: read_table(tmp_path/'t.csv')
    assert all(word in str(e.value) for word in ('t.csv', 'not in UTF-8', 'save', 'CSV UTF-8')) and '\n' not in str(e.value)
