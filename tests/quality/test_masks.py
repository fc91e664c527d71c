"""Masks beside their images: what the notebook cannot show, and the real nuclei where they are."""
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from scipy import ndimage
from cytokit.quality.contours import measure_mask
from cytokit.quality.masks import check_masks, mask_pairs, read_mask
from cytokit.core import InputError
from cytokit.data.synthetic import make_cells

DATA = Path(__file__).resolve().parents[3]/'shared/data'
CELLS = [make_cells(f'test masks {i}', size=96, n_cells=10) for i in range(12)]

def save(path, a):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(a)).save(path)

def folder(tmp, change=lambda i, a: a):
    for i, (img, a) in enumerate(CELLS):
        save(tmp/f'images/{i:02d}.png', img); save(tmp/f'masks/{i:02d}.png', change(i, a))
    return tmp

def said(tmp, **kwargs):
    f = check_masks(mask_pairs(tmp/'images', tmp/'masks'), **kwargs)
    return f, {(Path(p).stem, c) for p, c in zip(f.file, f.check)}

def test_one_bad_file_costs_no_other(tmp_path):
    folder(tmp_path)
    (tmp_path/'masks/00.png').write_bytes(b'no image')
    (tmp_path/'masks/01.png').unlink()
    (tmp_path/'images/02.png').unlink()
    (tmp_path/'images/03.png').write_bytes(b'')
    save(tmp_path/'masks/04.png', CELLS[4][1][:, :-3])
    save(tmp_path/'masks/05.png', np.zeros((96, 96), 'u1'))
    save(tmp_path/'masks/06.png', np.ones((96, 96), 'u1'))
    f, s = said(tmp_path)
    wanted = {'00': 'unreadable', '01': 'missing', '02': 'without_image', '04': 'shape', '05': 'empty', '06': 'full'}
    assert {(file, f'mask_{what}') for file, what in wanted.items()} == {x for x in s if x[0] < '07'}
    assert not [x for x in s if x[0] > '06'] and '03' not in {Path(p).stem for p in f.file}

def test_all_missing_and_tiny():
    f = check_masks(pd.DataFrame(dict(image=['/nowhere/a.png', None], mask=['/nowhere/m.png', '/nowhere/n.png'])))
    assert list(f.check) == ['mask_missing', 'mask_without_image']
    for shape in ((1, 1), (1, 9), (3, 2)):
        for m in (np.zeros(shape, 'u1'), np.ones(shape, 'u1'), np.eye(*shape, dtype='u1')):
            assert measure_mask(np.zeros(shape), m)['share'] == (m > 0).mean()
    with pytest.raises(InputError, match='column'): check_masks(pd.DataFrame(dict(image=['a'])))

def test_odd_pictures():
    img, a = CELLS[0]
    for x in (img*0, np.full(img.shape, np.nan, 'f4'), np.stack([img]*3, -1), np.stack([img]*2, -1), img > 5000,
              -img.astype('i4')):
        assert measure_mask(x, a)['objects'] == a.max()
    assert measure_mask(img, a.astype('i8')*100_000)['objects'] == a.max() and measure_mask(img, a > 0)['ids'] == 1

def test_spacing_and_volumes(tmp_path):
    nib = pytest.importorskip('nibabel')
    v = np.stack([c[0] for c in CELLS[:4]]).astype('i4'); m = np.stack([c[1] for c in CELLS[:4]]).astype('u1'); m[2] = 0
    for name, x, step in (('i', v, 1), ('m', m, 1), ('n', m, 1.1)):
        nib.save(nib.Nifti1Image(x.T, np.diag([step, step, 3, 1])), tmp_path/f'{name}.nii.gz')
    f = check_masks(pd.DataFrame(dict(image=[str(tmp_path/'i.nii.gz')]*2,
                                      mask=[str(tmp_path/'m.nii.gz'), str(tmp_path/'n.nii.gz')])))
    assert list(f.check[f.severity == 'error']) == ['mask_spacing'] and f.file[0].endswith('n.nii.gz')
    with pytest.raises(InputError, match='volume'): read_mask(tmp_path/'m.nii.gz')

def test_values_of_binary_and_classes(tmp_path):
    f, s = said(folder(tmp_path/'b', lambda i, a: (a > 0).astype('u1')*(255 if i == 3 else 1)))
    assert f.attrs['kind'] == 'binary' and ('03', 'mask_values') in s
    def classes(i, a):
        b = np.where(a % 2, 1, 2)*(a > 0); b[4:8, 4:8] = 9 if i == 5 else b[4:8, 4:8]
        return b.astype('u1')
    f, s = said(folder(tmp_path/'c', classes))
    assert f.attrs['kind'] == 'classes' and {x for x in s if x[1] == 'mask_values'} == {('05', 'mask_values')}
    f, s = said(folder(tmp_path/'d', lambda i, a: (a > 0).astype('u1') if i == 7 else a))
    assert f.attrs['kind'] == 'instances' and {x for x in s if x[1] == 'mask_semantic'} == {('07', 'mask_semantic')}

def test_too_much_drawn(tmp_path):
    "Outlines and share of one mask say the same: told by both names, and of no other mask."
    def grown(i, a):
        far, at = ndimage.distance_transform_edt(a == 0, return_indices=True)
        return np.where((far <= 2) & (i == 3), a[tuple(at)], a)
    f, s = said(folder(tmp_path, grown))
    assert s == {('03', 'mask_contour_out'), ('03', 'mask_foreground')}
    r = f[f.check == 'mask_foreground'].iloc[0]
    assert r.value > r.threshold

def test_colours_and_palette(tmp_path):
    a = CELLS[1][1]; rgb = np.stack([a*7 % 256, a*31 % 256, a*101 % 256], -1).astype('u1')
    save(tmp_path/'rgb.png', rgb)
    p = Image.fromarray(a.astype('u1'), mode='P')
    p.putpalette([v for k in range(256) for v in (k, 255 - k if k else 0, k*37 % 256)])
    p.save(tmp_path/'p.png')
    for name in ('rgb', 'p'): assert len(np.unique(read_mask(tmp_path/f'{name}.png'))) == len(np.unique(a))

def test_people_are_compared(tmp_path):
    from scipy.ndimage import grey_dilation
    cells = [make_cells(f'people {i}', size=96, n_cells=8, overlap=0) for i in range(40)]
    rows = []
    for i, (img, a) in enumerate(cells):
        save(tmp_path/f'i{i}.png', img); save(tmp_path/f'm{i}.png', grey_dilation(a, size=(5, 5)) if i < 14 else a)
        rows.append(dict(image=str(tmp_path/f'i{i}.png'), mask=str(tmp_path/f'm{i}.png'),
                         annotator='ann' if i < 14 else 'bob' if i % 2 else 'eve'))
    f = check_masks(pd.DataFrame(rows))
    assert 'ann' in set(f.group[f.check == 'mask_style'])

@pytest.mark.skipif(not (DATA/'nuclei').exists(), reason='real nuclei are not there')
def test_real_nuclei_that_people_mended():
    t = pd.read_csv(DATA/'nuclei/images.csv'); t = t[(t.split == 'train') & (t.height <= 360)].iloc[:160]
    own = [DATA/f'nuclei/labels_original/{i}.png' for i in t.id]
    f = check_masks(pd.DataFrame(dict(image=[str(DATA/f'nuclei/images/{i}.png') for i in t.id],
                                      mask=[str(p if p.exists() else DATA/f'nuclei/labels/{i}.png')
                                            for i, p in zip(t.id, own)])))
    flagged, changed = {Path(p).stem for p in f.file[f.severity != 'info']}, set(t.id[t.changed])
    assert f.attrs['kind'] == 'instances' and len(flagged & changed) >= .8*len(changed)
    assert len(flagged - changed) <= .05*len(t)
