"Corrupted sets of other formats than the notebook's, and their answers."
import csv, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest, tifffile
from PIL import Image
from cytokit.core import InputError, file_digest
from cytokit.data.datasets import read_table
from cytokit.data.formats import read_image
from cytokit.data.synthetic import make_cells
from cytokit.data.textures import make_texture
from cytokit.quality.corrupt import FAULTS, corrupt_dataset, key_path
from cytokit.quality.scoring import score_findings

def a_set(root, suffix, n=16):
    "Two classes of n images: 12 bits of 16 in TIFF, grey in PNG and BMP, colour in JPEG."
    for i in range(2*n):
        p = root/'ab'[i % 2]/f'{i}{suffix}'; p.parent.mkdir(parents=True, exist_ok=True)
        a = make_cells(f'{suffix}{i}', 48, 4)[0]
        if suffix == '.tif': tifffile.imwrite(p, np.minimum(a//8, 4095))
        elif suffix == '.jpg': Image.fromarray(make_texture('zebra', i, 48)).save(p, quality=92)
        else: Image.fromarray((a >> 8).astype('u1')).save(p)
    return root

def key_of(out): return pd.read_csv(key_path(out), dtype={'file': str, 'other': str}, keep_default_na=False)

@pytest.mark.parametrize('suffix', ['.tif', '.jpg', '.bmp'])
def test_every_format(tmp_path, suffix):
    src = a_set(tmp_path/'src', suffix, 18)
    before = {p: file_digest(p) for p in src.rglob('*.*')}
    faults = [f for f in FAULTS
              if f not in ('post_blur', 'jpeg', 'hot_pixels', 'uneven', 'border', 'few_levels', 'motion', 'noise',
                           'shortcut')]
    out = corrupt_dataset(src, tmp_path/'out', faults, n_each=1)
    assert {p: file_digest(p) for p in src.rglob('*.*')} == before and not list(tmp_path.glob('.tmp*'))
    k = key_of(out).set_index('fault')
    a = lambda f: read_image(out/f).array
    assert sorted(k.index) == sorted(faults) and len(read_table(out)) == 36 + 5
    for f in ('exact', 'leak'): assert np.array_equal(a(k.file[f]), a(k.other[f]))
    assert a(k.file['depth']).dtype == ('u1' if suffix == '.tif' else 'u2')
    usual = (48, 48, 3) if suffix == '.jpg' else (48, 48)
    assert a(k.file['mode']).shape != usual and a(k.file['blur']).shape == usual
    with pytest.raises(InputError): a(k.file['corrupt'])
    p = out/k.file['extension']
    assert read_image(p).format != {'.jpg': 'JPEG', '.png': 'PNG'}[p.suffix]
    if suffix == '.tif': assert a(k.file['saturated']).max() == 4095 and (a(k.file['saturated']) == 4095).mean() > .02
    untouched = set(before.values()) & {file_digest(p) for p in out.rglob('*.*')}
    assert len(untouched) >= 16  # half of the set, byte for byte

def test_names_tell_nothing(tmp_path):
    out = corrupt_dataset(a_set(tmp_path/'src', '.png'), tmp_path/'out', ['blur', 'exact', 'label'], n_each=3)
    key, files = key_of(out), sorted(p.relative_to(out).as_posix() for p in out.rglob('*.png'))
    assert all(p.stem.isdigit() and len(p.stem) == 5 for p in out.rglob('*.png'))
    assert len({Path(f).stem for f in files}) == len(files)
    assert sorted(p.name for p in out.iterdir()) == ['a', 'b', 'table.csv']
    with open(out/'table.csv') as f: assert next(csv.reader(f)) == ['image', 'target']
    assert not any(w in (out/'table.csv').read_text() for w in ('blur', 'exact', str(tmp_path)))
    perfect = score_findings(list(zip(key.file, key.fault)), out)
    assert (perfect.recall == 1).all() and (perfect.precision == 1).all() and (perfect.wrong == 0).all()

def test_nothing_half_written(tmp_path):
    src = a_set(tmp_path/'src', '.png')
    victim = next((src/'a').glob('*.png')); victim.write_bytes(b'no image')
    with pytest.raises(InputError, match=victim.name):
        corrupt_dataset(src, tmp_path/'out', dict(shortcut=.1, blur=3), n_each=8, seed=1)
        corrupt_dataset(src, tmp_path/'out2', dict(shortcut=.1, blur=3), n_each=8, seed=2)
    assert not list(tmp_path.glob('.tmp*')) and not (tmp_path/'out').exists() and not key_path(tmp_path/'out').exists()

def test_shortcut_is_of_one_class(tmp_path):
    out = corrupt_dataset(a_set(tmp_path/'src', '.png'), tmp_path/'out', 'shortcut')
    k = key_of(out); level = {c: np.mean([read_image(p).array.min() for p in (out/c).glob('*.png')]) for c in 'ab'}
    assert len(k) == 1 and max(level, key=level.get) == k.file[0] and max(level.values()) - min(level.values()) > 10
    assert score_findings([out/k.file[0]], out).recall.tolist() == [1, 1]

def test_odd_class_names_and_groups(tmp_path):
    src = a_set(tmp_path/'src', '.png')
    rows = [(p.relative_to(tmp_path).as_posix(), {'a': 'a/b', 'b': 'a:b'}[p.parent.name], f'g{i//4}')
            for i, p in enumerate(sorted(src.rglob('*.png')))]
    (tmp_path/'t.csv').write_text('image,target,group\n' + ''.join(f'{a},{b},{c}\n' for a, b, c in rows))
    t = read_table(corrupt_dataset(tmp_path/'t.csv', tmp_path/'out', ['leak', 'near'], n_each=2))
    assert set(t.target) == {'a/b', 'a:b'} and t.split.groupby(t.group).nunique().max() == 1 and len(t) == 36

def test_without_torch():
    heavy = "('torch', 'sklearn', 'skimage', 'matplotlib')"
    code = f'import sys, cytokit.quality.corrupt; print([m for m in {heavy} if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True).stdout.strip() == '[]'

def test_marks_by_hand():
    rows = [('x/1.png', 'turned', '', 'x/2.png'), ('x/3.png', 'turned', '', 'y/4.png'), ('y/5.png', 'dark', '', '')]
    key = pd.DataFrame(rows, columns=['file', 'fault', 'severity', 'other'])
    m = score_findings(pd.DataFrame(dict(file=['/d/x/2.png', '/d/x/1.png', 'y\\5.png', '/d/y/6.png'],
                                         check=['turned_duplicate', 'turned_duplicate', 'dark', 'turned_duplicate'])),
                                         key).set_index('fault')
    assert m.loc['turned'].tolist() == [2, 1, 1, .5, .5] and m.loc['dark'].tolist() == [1, 1, 0, 1, 1]
    assert m.loc['all'].tolist() == [3, 2, 1, 2/3, 2/3]
