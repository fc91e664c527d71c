"""Images with their labels: odd forms, bad files, and the real sets where they are."""
import json, struct, warnings, zipfile
from pathlib import Path
import numpy as np, pandas as pd, pytest, tifffile
from PIL import Image
from cytokit.core import InputError
from cytokit.data.datasets import save_table
from cytokit.data.preprocess import Preprocessing
from cytokit.data.annotations import labels_kind, mask_classes, read_labels, to_instances
from cytokit.data.pairs import load_pair, pairs, show_pair
from cytokit.data.synthetic import make_cells

DATA = Path(__file__).resolve().parents[3]/'shared/data'
real = lambda name: pytest.mark.skipif(not (DATA/name).is_dir(), reason=f'{DATA/name} is not here')
IMAGE, LABELS = make_cells('test pairs', size=96, n_cells=12)

def save(path, a):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, a) if path.suffix == '.tif' else Image.fromarray(np.ascontiguousarray(a)).save(path)
    return path

def dump(path, d):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(d if isinstance(d, str) else json.dumps(d))
    return path

def feature(coordinates, form='Polygon', name='a'):
    return dict(type='Feature', geometry=dict(type=form, coordinates=coordinates),
                properties=dict(classification=dict(name=name)))
def square(x, y, n): return [[x, y], [x + n, y], [x + n, y + n], [x, y + n], [x, y]]
def coco(*segmentations, **image):
    return dict(images=[dict(id=1, file_name='a.png', height=96, width=96) | image],
                categories=[dict(id=3, name='cell')],
                annotations=[dict(id=i, image_id=1, category_id=3, segmentation=s)
                             for i, s in enumerate(segmentations)])

def refused(f, *words):
    with pytest.raises(InputError) as e: f()
    s = str(e.value)
    assert '\n' not in s and len(s) < 700 and all(w in s for w in words), s

# ---- forms

@pytest.mark.parametrize('dtype, suffix',
                         [('u1', '.png'), ('u2', '.png'), ('u2', '.tif'), ('i4', '.tif'), ('u4', '.tif'),
                          ('f4', '.tif')])
def test_numbers_of_all_depths(tmp_path, dtype, suffix):
    assert (read_labels(save(tmp_path/f'a{suffix}', LABELS.astype(dtype)), (96, 96), 'instance') == LABELS).all()

def test_more_objects_than_16_bits(tmp_path):
    a = np.arange(1, 90_001, dtype='u4').reshape(300, 300)
    for kind in (None, 'instance'):
        assert (x := read_labels(save(tmp_path/'a.tif', a), kind=kind)).dtype == np.int32 and (x == a).all()
    assert (read_labels(save(tmp_path/'b.tif', a + np.uint32(2**32 - 90_001))) == a).all()
    drawn = np.argwhere(np.ones((280, 250)))
    p = dump(tmp_path/'c.json',
             coco(*([[float(x), float(y), x + 1., float(y), x + 1., y + 1., float(x), y + 1.]] for y, x in drawn),
                  height=280, width=250))
    x, facts = read_labels(p, full=True)
    assert x.max() == 70_000 and (x.ravel() == np.arange(1, 70_001)).all() and facts['overlap'] == 0
    assert to_instances(x, 'instance').max() == 70_000

def roi(tmp_path, kind, points=None, box=(0, 0, 0, 0), subtype=0, name='r.roi', composite=None):
    roifile = pytest.importorskip('roifile')
    r = roifile.ImagejRoi.frompoints(np.array(points if points is not None else [[0, 0], [1, 0], [1, 1]], 'i4'))
    r.roitype, r.subtype = roifile.ROI_TYPE[kind], roifile.ROI_SUBTYPE(subtype)
    if points is None: r.left, r.top, r.right, r.bottom = box; r.integer_coordinates = None; r.n_coordinates = 0
    if composite is not None: r.multi_coordinates = np.array(composite, 'f4'); r.shape_roi_size = len(composite)
    tmp_path.mkdir(parents=True, exist_ok=True); (tmp_path/name).write_bytes(r.tobytes())
    return tmp_path/name

def test_rois_with_an_area(tmp_path):
    a = read_labels(roi(tmp_path, 'RECT', box=(10, 20, 40, 30)), (96, 96))
    assert a.sum() == 300 and a[20:30, 10:40].all()
    a = read_labels(roi(tmp_path, 'OVAL', box=(10, 20, 70, 60)), (96, 96)); y, x = np.mgrid[:96, :96] + .5
    assert abs(a - (((x - 40)/30)**2 + ((y - 40)/20)**2 < 1)).sum() <= 4
    for kind in ('POLYGON', 'FREEHAND', 'TRACED'):
        assert read_labels(roi(tmp_path, kind, [[5, 5], [15, 5], [15, 9], [5, 9]]), (96, 96)).sum() == 40
    path = lambda *rings: [v for r in rings for i, p in enumerate(r) for v in (float(i > 0), *p)]
    assert read_labels(roi(tmp_path, 'RECT', box=(0, 0, 30, 30),
                           composite=path(square(0, 0, 30)[:4], square(10, 10, 10)[:4])), (96, 96)).sum() == 800

def test_zip_of_rois_is_bounded_and_not_unpacked(tmp_path):
    one = roi(tmp_path/'r', 'RECT', box=(0, 0, 9, 9)).read_bytes()
    with zipfile.ZipFile(tmp_path/'a.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('../../evil.roi', one)
        z.writestr('/abs.roi', one)
        z.writestr('__MACOSX/._x.roi', b'?')
        z.writestr('note.txt', 'x')
    before = sorted(tmp_path.rglob('*')); a, facts = read_labels(tmp_path/'a.zip', (20, 20), full=True)
    assert facts == dict(names=[None, None], overlap=81, lost=1, crowd=0) and a.max() == 2
    assert sorted(tmp_path.rglob('*')) == before
    with zipfile.ZipFile(tmp_path/'bomb.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for i in range(3): z.writestr(f'{i}.roi', bytes(2**27))
    refused(lambda: read_labels(tmp_path/'bomb.zip', (20, 20)), 'bomb.zip', 'unpacks to 384 MB')
    raw = (tmp_path/'a.zip').read_bytes()
    (tmp_path/'cut.zip').write_bytes(raw[:len(raw)//2])
    (tmp_path/'none.zip').write_bytes(b'')
    (tmp_path/'text.zip').write_text('no zip')
    for name in ('cut.zip', 'none.zip', 'text.zip'): refused(lambda: read_labels(tmp_path/name, (20, 20)), name)
    with zipfile.ZipFile(tmp_path/'p.zip', 'w') as z: z.writestr('a.png', b'')
    refused(lambda: read_labels(tmp_path/'p.zip', (20, 20)), 'no .roi file')

def test_overlaps_are_told(tmp_path):
    for i, (y, x) in enumerate([(0, 0), (5, 5)]):
        a = np.zeros((20, 20), 'u1'); a[y:y+10, x:x+10] = 255; save(tmp_path/f'o/{i}.png', a)
    with pytest.warns(UserWarning, match='25 pixels belong to several objects'): a = read_labels(tmp_path/'o')
    assert np.bincount(a.ravel()).tolist() == [225, 75, 100]
    assert read_labels(tmp_path/'o', full=True)[1]['overlap'] == 25

def test_geojson_of_every_wrapping(tmp_path):
    f = feature([square(1, 2, 5)])
    for d in (f, [f], dict(type='FeatureCollection', features=[f]), dict(features=[f])):
        assert read_labels(dump(tmp_path/'a.geojson', d), (20, 20)).sum() == 25
    assert read_labels(dump(tmp_path/'e.geojson', dict(type='FeatureCollection', features=[])), (20, 20)).sum() == 0
    f['properties'] = dict(classification=dict(names=['Tumor', 'Positive']))
    f2 = feature([[*map(lambda p: [*p, 0.], square(9, 9, 3))]], name='Stroma')
    p = dump(tmp_path/'n.geojson', [f, f2]); t = pd.DataFrame(dict(target=[str(p)]))
    assert mask_classes(t) == ['Stroma', 'Tumor: Positive']
    assert np.bincount(read_labels(p, (20, 20), 'class', mask_classes(t)).ravel()).tolist() == [366, 9, 25]
    refused(lambda: read_labels(p, (20, 20), 'class', ['Stroma']), 'n.geojson', 'Tumor: Positive')

def test_coco_of_several_images(tmp_path):
    d = coco([[0, 0, 4, 0, 4, 4, 0, 4]])
    d['images'] = [dict(id=i, file_name=f'{n}/x.png', height=20, width=30) for i, n in ((1, 'a'), (2, 'b'))] + [dict(id=3, file_name='y.png', height=20, width=30)]
    for n in 'ab': save(tmp_path/f'images/{n}/x.png', np.zeros((20, 30), 'u1'))
    save(tmp_path/'images/y.png', np.zeros((20, 30), 'u1')); p = dump(tmp_path/'all.json', d)
    t = pairs(tmp_path)
    assert [load_pair(r)[1].sum() for r in t.itertuples()] == [16, 0, 0] and set(t.target) == {str(p)}
    assert labels_kind(t)[0] == 'instance' and mask_classes(t) == ['cell']
    refused(lambda: read_labels(p), 'all.json', '3 images', 'image=')
    refused(lambda: read_labels(p, image='z.png'), 'tells nothing of z.png')
    (tmp_path/'images/y.png').unlink()
    refused(lambda: pairs(tmp_path), 'all.json', '1 of its images', 'y.png')
    assert len(pairs(tmp_path, drop=True)) == 2

def test_colours_keep_their_numbers_over_a_set(tmp_path):
    rgb = np.uint8([(0, 0, 0), (255, 0, 0), (255, 255, 255), (0, 128, 0)])
    for i, k in enumerate(([0, 1], [0, 2], [0, 3, 1])):
        save(tmp_path/f'masks/{i}.png', rgb[np.resize(k, (8, 8))])
        save(tmp_path/f'images/{i}.png', np.zeros((8, 8), 'u1'))
    t = pairs(tmp_path); c = mask_classes(t); assert c == ['#008000', '#ff0000', '#ffffff']
    assert [np.unique(load_pair(r, kind='class', classes=c)[1]).tolist() for r in t.itertuples()] == [[0, 2], [0, 3], [0, 1, 2]]
    refused(lambda: read_labels(t.target[0], kind='class'), '0.png', 'mask_classes')
    refused(lambda: read_labels(t.target[2], kind='class', classes=c[1:]), '2.png', '#008000')

def test_jpeg_masks(tmp_path):
    b = (LABELS > 0).astype('u1')*255
    Image.fromarray(b).save(tmp_path/'b.jpg', quality=90)
    Image.fromarray(np.stack([b]*3, -1)).save(tmp_path/'c.jpg', quality=90)
    for n in 'bc': assert (read_labels(tmp_path/f'{n}.jpg') != (b > 0)).mean() < .01
    Image.fromarray((LABELS*20).astype('u1')).save(tmp_path/'n.jpg')
    refused(lambda: read_labels(tmp_path/'n.jpg'), 'n.jpg', 'JPEG')
    Image.fromarray((LABELS > 0).astype('u1')*40).save(tmp_path/'d.jpg')
    refused(lambda: read_labels(tmp_path/'d.jpg'), 'JPEG')

@pytest.mark.parametrize('dtype, white', [('u1', 255), ('u2', 255), ('u2', 65535), ('f4', 1), ('f4', .5), ('f4', 255),
                                          ('f8', 65535)])
def test_black_and_white_masks_are_0_and_1(tmp_path, dtype, white):
    a = (LABELS > 0).astype(dtype)*np.dtype(dtype).type(white)
    row = dict(image=save(tmp_path/'a.png', IMAGE), target=save(tmp_path/'mask.tif', a))
    for kind in (None, 'class', 'binary'): np.testing.assert_array_equal(load_pair(row, kind=kind)[1], LABELS > 0)

# ---- bad input

@pytest.mark.parametrize('name, content, words', [
    ('a.json', '{"version": "5.0", "shapes": [], "flags": {}}', 'another kind'), ('a.json', '[1, 2]', 'another kind'),
    ('a.json', '"text"', 'another kind'), ('a.json', '[]', 'another kind'),
    ('a.json', '{"features": 3}', 'another kind'), ('a.json', '{"images": [', 'JSON'),
    ('a.json', '[' * 100_000, 'JSON'), ('a.json', '', 'JSON'),
    ('a.geojson', [feature([[[1, 1], [5, 5]]])], 'of 2 points'),
    ('a.geojson', [feature([square(500, 500, 5)])], 'outside of the image'),
    ('a.geojson', [feature([square(-50, 0, 5)])], 'outside'),
    ('a.geojson', [feature([[[1, 1], [5, float('nan')], [3, 3]]])], 'finite'),
    ('a.geojson', [feature([[[1, 1], [5, float('inf')], [3, 3]]])], 'finite'),
    ('a.geojson', [feature([3, 4], 'Point')], 'no area'),
    ('a.geojson', [feature([[3, 4], [4, 5]], 'LineString')], 'no area'), ('a.geojson', [feature([])], 'object 1'),
    ('a.geojson', [feature([['a', 'b']])], 'object 1'), ('a.geojson', [feature([[[1], [2], [3]]])], 'object 1'),
    ('a.geojson', [dict(type='Feature')], 'object 1'),
    ('a.geojson', [feature([[[10**400, 1], [5, 5], [3, 3]]])], 'object 1'),
    ('a.json', coco([[1, 1, 5, 5]]), 'of 2 points'), ('a.json', coco([[1, 1, 5, 5, 3]]), 'x, y'),
    ('a.json', coco([]), 'no outline'), ('a.json', coco(None), 'no outline'),
    ('a.json', coco(dict(size=[96, 96], counts=[5, 6])), 'add up to 11'),
    ('a.json', coco(dict(size=[96, 96], counts=[9217, -1])), 'add up'),
    ('a.json', coco(dict(size=[9, 9], counts=[81])), 'are for'),
    ('a.json', coco(dict(size=[96, 96], counts='~~')), 'broken'), ('a.json', coco(dict(size=[96, 96])), 'annotation 0'),
    ('a.json', coco(dict(size=[96, 96], counts='o'*5000)), 'broken'),
    ('a.json', coco([[0, 0, 9, 0, 9, 9]], height=50), '50×96'), ('a.json', coco(height='x'), 'broken'),
    ('a.json', dict(images=[1], annotations=[]), 'broken'),
    ('a.json', dict(images=[dict(id=1, file_name='a.png')], annotations=[dict()]), 'broken'),
    ('a.roi', b'Iout', 'a.roi'), ('a.roi', b'Iout' + bytes(200), 'a.roi'), ('a.roi', b'', 'a.roi'),
    ('a.roi', b'x'*500, 'a.roi'), ('a.png', b'', 'a.png'), ('a.txt', b'hello world', 'a.txt')])
def test_bad_file_has_one_clear_line(tmp_path, name, content, words):
    p = tmp_path/name
    p.write_bytes(content) if isinstance(content, bytes) else dump(p, content)
    refused(lambda: read_labels(p, (96, 96)), name, words)
    refused(lambda: load_pair(dict(image=save(tmp_path/'i/a.png', IMAGE), target=p)), name, words)

def test_huge_sizes_are_refused(tmp_path):
    refused(lambda: read_labels(dump(tmp_path/'a.json', coco(height=10**9, width=10**9))), 'possible height')
    refused(lambda: read_labels(dump(tmp_path/'a.geojson', [feature([square(0, 0, 9)])]), (10**6, 10**6)),
            'possible size')
    zigzag = [[float(i % 2), 0. if i % 2 else 1e5] for i in range(2000)]
    refused(lambda: read_labels(dump(tmp_path/'b.geojson', [feature([zigzag])]), (100_000, 10)), 'crosses rows')

@pytest.mark.parametrize('kind', ['LINE', 'FREELINE', 'POLYLINE', 'POINT', 'ANGLE'])
def test_rois_without_area(tmp_path, kind):
    refused(lambda: read_labels(roi(tmp_path, kind, [[1, 1], [5, 5], [9, 2]]), (96, 96)), 'r.roi', 'no area')

def test_roi_with_false_counts(tmp_path):
    raw = bytearray(roi(tmp_path, 'POLYGON', [[1, 1], [5, 5], [9, 2]]).read_bytes())
    raw[16:18] = struct.pack('>H', 60_000)
    (tmp_path/'r.roi').write_bytes(raw)
    refused(lambda: read_labels(tmp_path/'r.roi', (96, 96)), 'r.roi')
    refused(lambda: read_labels(roi(tmp_path, 'RECT', box=(0, 0, 9, 9), composite=[9., 1, 1]), (96, 96)), 'r.roi')
    refused(lambda: read_labels(roi(tmp_path, 'RECT', box=(200, 200, 209, 209)), (96, 96)), 'outside')

def test_bad_folders(tmp_path):
    (tmp_path/'empty').mkdir()
    refused(lambda: pairs(tmp_path/'empty'), 'empty', 'no pairs')
    refused(lambda: read_labels(tmp_path/'empty'), 'empty', 'no image')
    for n in ('images', 'masks'): (tmp_path/'e2'/n).mkdir(parents=True)
    refused(lambda: pairs(tmp_path/'e2'), 'no pairs')
    refused(lambda: pairs(tmp_path/'no'), 'no such')
    refused(lambda: pairs(tmp_path/'e2', tmp_path/'no'), 'no such')
    for i in range(3): save(tmp_path/f's/images/{i}.png', IMAGE); save(tmp_path/f's/masks/{i}.png', LABELS.astype('u1'))
    (tmp_path/'s/masks/1.png').unlink()
    refused(lambda: pairs(tmp_path/'s'), '1 files have no partner', '1.png')
    assert len(pairs(tmp_path/'s', drop=True)) == 2
    refused(lambda: read_labels(tmp_path/'s/masks'), 'several numbers')
    save(tmp_path/'s/masks/1.png', LABELS[:90].astype('u1'))
    t = pairs(tmp_path/'s')
    refused(lambda: load_pair(t.iloc[1]), 'images/1.png', 'masks/1.png', '96×96', '90×96')
    dump(tmp_path/'s/masks/1.geojson', [feature([square(0, 0, 9)])]); refused(lambda: pairs(tmp_path/'s'), 'keep one')
    (tmp_path/'s/labels').mkdir(); refused(lambda: pairs(tmp_path/'s'), 'labels and masks')
    for a, n in ((LABELS[:9], 'x'), (LABELS, 'y')): save(tmp_path/f'o/{n}.png', (a == 3).astype('u1'))
    refused(lambda: read_labels(tmp_path/'o'), 'y.png', '96×96')
    refused(lambda: read_labels(save(tmp_path/'neg.tif', -LABELS.astype('i4'))), 'neg.tif', 'count from 0')
    refused(lambda: read_labels(tmp_path/'neg.tif', kind='mask'), 'kind')

@pytest.mark.parametrize('name',
                         ['../secret.png', '/etc/secret.png', 'a/../../secret.png', '..\\secret.png', '..', '',
                          'a\0.png', '../s2/secret.png'])
def test_coco_cannot_leave_its_folder(tmp_path, name):
    for p in ('secret.png', 's2/secret.png', 's/a/b.png'): save(tmp_path/p, IMAGE)
    p = dump(tmp_path/'s/x.json', coco(file_name=name))
    refused(lambda: pairs(tmp_path/'s', p), 'x.json'); refused(lambda: pairs(p), 'x.json')
    with pytest.raises(InputError): pairs(tmp_path/'s', p, drop=True)

def test_csv_takes_every_form(tmp_path):
    save(tmp_path/'a.png', IMAGE)
    save(tmp_path/'b.png', IMAGE)
    save(tmp_path/'c.png', IMAGE)
    save(tmp_path/'m/1.png', (LABELS == 1).astype('u1'))
    dump(tmp_path/'b.geojson', [feature([square(0, 0, 9)])])
    save(tmp_path/'c_m.png', LABELS.astype('u1'))
    dump(tmp_path/'t.csv',
         'image,target,group,split\na.png,m,p1,train\nb.png,b.geojson,p1,train\nc.png,c_m.png,p2,valid\n')
    t = pairs(tmp_path/'t.csv')
    assert list(t) == ['image', 'target', 'group', 'split'] and t.attrs['task'] == 'mask'
    assert [load_pair(r)[1].max() for r in t.itertuples()] == [1, 1, LABELS.max()]
    dump(tmp_path/'t.csv', 'image,target\na.png,gone.png\n')
    refused(lambda: pairs(tmp_path/'t.csv'), 't.csv', 'gone.png')
    save_table(t.iloc[2:].reset_index(drop=True), tmp_path/'new.csv')
    assert pairs(tmp_path/'new.csv').target[0] == t.target[2]

def test_volumes(tmp_path):
    nib = pytest.importorskip('nibabel')
    v = np.stack([IMAGE.astype('i4')]*5)
    m = np.stack([LABELS.astype('u1')*(i == 2) for i in range(5)])
    for n, a, step in (('i', v, (1, 1, 3)), ('m', m, (1, 1, 3)), ('f', m, (-1, 1, 3))):
        nib.save(nib.Nifti1Image(a.T, np.diag([*step, 1])), tmp_path/f'{n}.nii.gz')
    x, y = load_pair(dict(image=tmp_path/'i.nii.gz', target=tmp_path/'m.nii.gz'))
    assert x.shape == (96, 96, 1) and (y[::-1] == LABELS).all()
    assert load_pair(dict(image=tmp_path/'i.nii.gz', target=tmp_path/'m.nii.gz'), Preprocessing(index=1))[1].max() == 0
    save(tmp_path/'i.png', IMAGE); save(tmp_path/'m.png', LABELS.astype('u1'))
    for a, b in (('i.nii.gz', 'm.png'), ('i.png', 'm.nii.gz')):
        refused(lambda: load_pair(dict(image=tmp_path/a, target=tmp_path/b)), a, b, '5×96×96')
    refused(lambda: load_pair(dict(image=tmp_path/'i.nii.gz',
                                   target=dump(tmp_path/'g.geojson', [feature([square(0, 0, 9)])]))), 'volume',
                                   'g.geojson')
    refused(lambda: read_labels(tmp_path/'m.nii.gz'), 'volume')

# ---- real sets

def loaded(t, n, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return [load_pair(r, **kwargs) for r in t.iloc[::max(1, len(t)//n)].itertuples()]

@real('nuclei')
def test_nuclei_in_every_form(tmp_path):
    d = pd.read_csv(DATA/'nuclei/images.csv'); d = d[d.split == 'train'].reset_index(drop=True)
    t = pd.DataFrame(dict(image=[str(DATA/f'nuclei/images/{i}.png') for i in d.id],
                          target=[str(DATA/f'nuclei/labels/{i}.png') for i in d.id]))
    assert labels_kind(t)[0] == 'instance'
    few = d.iloc[::40]
    for i, n in zip(few.id, few.n_objects):
        x, y = load_pair(dict(image=DATA/f'nuclei/images/{i}.png', target=DATA/f'nuclei/labels/{i}.png'),
                         kind='instance')
        assert x.shape[:2] == y.shape and x.dtype == np.float32 and len(np.unique(to_instances(y, 'instance'))) == n + 1
        for k in np.unique(y)[1:]: save(tmp_path/f'b/{i}/masks/{k:04d}.png', (y == k).astype('u1')*255)
        Image.open(DATA/f'nuclei/images/{i}.png').save(save(tmp_path/f'b/{i}/images/{i}.png', np.zeros((1, 1), 'u1')))
    t = pairs(tmp_path/'b'); assert len(t) == len(few) and labels_kind(t)[0] == 'instance'
    for r in t.itertuples():
        with warnings.catch_warnings(): warnings.simplefilter('error'); y = load_pair(r)[1]
        assert (y == to_instances(read_labels(DATA/f'nuclei/labels/{Path(r.image).name}'), 'instance')).all()

@real('wbc_segmentation')
def test_white_blood_cells():
    t = pairs(DATA/'wbc_segmentation/dataset1')
    assert len(t) == 300 and labels_kind(t)[0] == 'class' and mask_classes(t) == [1, 2]
    for x, y in loaded(t, 20, kind='class'):
        assert x.shape == (*y.shape, 3) and y.max() <= 2 and to_instances(y, 'class').max() >= len(np.unique(y)) - 1

@real('cytounet_examples')
@pytest.mark.parametrize('folder, n',
                         [('bbbc003_embryo', 15), ('bbbc030_cho', None), ('a549_phase/train', None),
                          ('a549_phase/validation', None)])
def test_cytounet_examples(folder, n):
    t = pairs(DATA/'cytounet_examples'/folder); assert n in (None, len(t)) and labels_kind(t)[0] == 'binary'
    for x, y in loaded(t, 4, kind='binary'): assert x.shape[:2] == y.shape and set(np.unique(y)) <= {0, 1} and y.any()

@real('isbi_membrane')
def test_membranes():
    t = pairs(DATA/'isbi_membrane/train'); assert len(t) == 30 and labels_kind(t)[0] == 'binary'
    for x, y in loaded(t, 4): assert x.shape == (512, 512, 1) and .5 < y.mean() < .95
    ax = show_pair(x, y); assert len(ax.collections[0].get_segments()) > 1000

# ---- nnU-Net

@pytest.fixture(scope='module')
def cases(tmp_path_factory):
    "Two volumes of one channel as nnU-Net wants them, and one without a mask in imagesTs."
    import nibabel as nib
    folder = tmp_path_factory.mktemp('nnunet')
    for name in ('imagesTr/c_001_0000', 'imagesTr/c_002_0000', 'imagesTs/c_003_0000', 'labelsTr/c_001', 'labelsTr/c_002'):
        (folder/name).parent.mkdir(exist_ok=True)
        a = np.random.default_rng(len(name)).integers(1, 900, (12, 16, 16), dtype='u2')
        nib.save(nib.Nifti1Image((a > 400).astype('u1') if 'labels' in name else a, np.eye(4)), folder/f'{name}.nii.gz')
    return dump(folder/'dataset.json', dict(labels=dict(background=0, tumour=1), file_ending='.nii.gz')).parent

def test_nnunet_folders_are_pairs_everywhere(cases, tmp_path):
    from cytokit import check
    from cytokit_process import cytokit
    t = pairs(cases)
    assert [Path(p).name for p in t.image] == ['c_001_0000.nii.gz', 'c_002_0000.nii.gz']
    assert [Path(p).name for p in t.target] == ['c_001.nii.gz', 'c_002.nii.gz']
    quality = check(cases)
    assert len(quality.rows) == 3 and len(quality.image_of) == 2 and quality.table is None
    assert not quality.findings['check'].isin(['mask_missing', 'mask_without_image']).any()
    done = cytokit('-q', 'slice', cases, tmp_path/'s', '--n', 2, '--no-crop')
    assert done.returncode == 0 and '4 slices of 2 volumes' in done.stdout, done.stderr
    assert len(pairs(tmp_path/'s')) == 4
    refused = cytokit('train', cases)
    assert refused.returncode == 2 and 'cytokit segment train' in refused.stderr

def test_channels_of_nnunet_are_refused_in_one_line(cases, tmp_path):
    import shutil
    from cytokit import check
    several = shutil.copytree(cases, tmp_path/'several')
    shutil.copy(several/'imagesTr/c_001_0000.nii.gz', several/'imagesTr/c_001_0001.nii.gz')
    for use in (pairs, check): refused(lambda: use(several), 'c_001_0001.nii.gz: another channel', 'one channel')
