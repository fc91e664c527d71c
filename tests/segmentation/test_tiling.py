"Images of any size: files as others write them, memory, interruption, bad input."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest, tifffile
from cytokit.core import InputError
from cytokit.data.formats import read_image
from cytokit.data.synthetic import make_cells
from cytokit.segmentation.tiling import Maps, objects_large, predict_large
from cytokit.data.windows import open_large

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f'{SHARED} is not here')

def write_slide(path, size, **options):
    "A tiled uint16 TIFF of cells, written tile by tile: one field repeated, with fresh noise."
    field, r = make_cells(0, 1024, 600)[0].astype('f4'), np.random.default_rng(0)
    n = -(-size//256)
    def tile(j, i):
        noise = r.normal(0, 60, (256, 256)).astype('f4')
        return (field[j%4*256:j%4*256+256, i%4*256:i%4*256+256] + noise).clip(0, 65535).astype('u2')
    tiles = (tile(j, i) for j in range(n) for i in range(n))
    tifffile.imwrite(path, tiles, shape=(size, size), dtype='u2',
                     **dict(dict(tile=(256, 256), compression='zlib', photometric='minisblack'), **options))

CODE = '''
import json, resource, sys, time
import numpy as np
from scipy import ndimage
import tifffile
from cytokit.data.preprocess import Preprocessing
from cytokit.segmentation.tiling import global_scale, objects_large, predict_large
from cytokit.data.windows import open_large
inside = 0
def timed(f):
    def g(x):
        global inside
        t = time.perf_counter(); y = f(x); inside += time.perf_counter() - t
        return y
    return g
@timed
def predict(x):
    b = np.stack([ndimage.uniform_filter(t[..., 0], 5, mode='mirror') for t in x])
    return np.stack([b, b*b], 1)
split = timed(lambda m: ndimage.label(m[0] > .25)[0])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
if __name__ == '__main__':
    slide, out = sys.argv[1:]
    predict(np.zeros((1, 64, 64, 1), 'f4')); split(np.zeros((1, 64, 64), 'f4'))
    start, told, area = peak(), {}, np.prod(open_large(slide).shape)/1e6
    for name, f in dict(scale=lambda: global_scale(slide, Preprocessing()),
                        predict=lambda: predict_large(slide, predict, preprocessing=told['scale'],
                                                      out=out + '/maps.npy'),
                        objects=lambda: objects_large(out + '/maps.npy', split, out + '/labels.tif')).items():
        inside, t = 0, time.perf_counter()
        told[name] = f()
        seconds = time.perf_counter() - t
        told[name + '_mp_s'], told[name + '_around_mp_s'] = area/seconds, area/(seconds - inside)
        told[name + '_mb'] = peak() - start
    print(json.dumps(told, default=str))
'''
ENV = dict(os.environ, OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')

def measured(tmp, size, **options):
    write_slide(tmp/'slide.tif', size, **options); (tmp/'job.py').write_text(CODE)
    r = subprocess.run([sys.executable, tmp/'job.py', tmp/'slide.tif', tmp], capture_output=True, text=True, env=ENV)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)

def test_memory_and_truth_of_a_slide(tmp_path):
    from scipy import ndimage
    from cytokit.data.preprocess import Preprocessing, normalise
    told = measured(tmp_path, 3000)
    assert told['objects_mb'] < 250, told
    whole = ndimage.uniform_filter(normalise(tifffile.imread(tmp_path/'slide.tif'), Preprocessing()), 5, mode='mirror')
    got = Maps(tmp_path/'maps.npy')
    assert got.shape == (2, 3000, 3000) and abs(got[0] - whole).max() < 1e-5 and abs(got[1] - whole*whole).max() < 1e-5
    labels, truth = tifffile.memmap(tmp_path/'labels.tif'), ndimage.label(got[0] > .25)[0]
    pairs = np.unique(truth.ravel().astype('i8')*2**32 + labels.ravel())
    assert told['objects'] == truth.max() and len(pairs) == truth.max() + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ['job.py', 'labels.tif', 'maps.npy', 'slide.tif']

@pytest.mark.parametrize('stage', ['maps.npy', 'labels.tif'])
def test_an_interrupt_leaves_nothing_half_written(tmp_path, stage):
    write_slide(tmp_path/'slide.tif', 1500)
    slow = CODE
    wait = "time.sleep(.2 if stage {} 'maps.npy' else 0)"
    for old, new in {'b = np.stack': f'{wait.format("==")}; b = np.stack',
                     'split = timed(lambda m:': f'split = timed(lambda m: {wait.format("!=")} or',
                     "'/labels.tif')": "'/labels.tif', tile=256, overlap=64)"}.items():
        assert old in slow
        slow = slow.replace(old, new)
    # a shell may have it ignored
    interrupts = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n'
    (tmp_path/'job.py').write_text(f'{interrupts}stage = {stage!r}\n{slow}')
    p = subprocess.Popen([sys.executable, tmp_path/'job.py', tmp_path/'slide.tif', tmp_path], stderr=subprocess.PIPE,
                         text=True, env=ENV)
    end = time.time() + 40
    while time.time() < end and p.poll() is None and not list(tmp_path.glob(f'.tmp-*{Path(stage).suffix}')):
        time.sleep(.05)
    time.sleep(.3); p.send_signal(signal.SIGINT)
    assert 'KeyboardInterrupt' in p.communicate(timeout=30)[1]
    assert not (tmp_path/stage).exists() and not list(tmp_path.glob('.tmp-*'))

@shared
def test_real_files_read_as_read_image_reads_them():
    profiler, unet = SHARED/'cellprofiler_examples', SHARED/'cytounet_examples'
    files = sorted(profiler.rglob('*.tif*'))[::12] + sorted(unet.rglob('*.tif*'))[::12]
    files += sorted(profiler.rglob('*.[jp][pn]g'))[:2]
    for f in files:
        a, im = read_image(f).array, open_large(f)
        a = a.reshape(*a.shape[:2], -1)
        assert im.shape == a.shape and im.dtype == a.dtype, f
        assert (im[:, :] == a).all() and (im[7:40, 11:60] == a[7:40, 11:60]).all(), f

r = np.random.default_rng(1)
GREY, RGB = r.integers(0, 60000, (130, 170)).astype('u2'), r.integers(0, 256, (130, 170, 3)).astype('u1')
@pytest.mark.parametrize('name,a,options', [
    ('bilevel', GREY > 30000, {}),
    ('float', GREY.astype('f4')/7, dict(tile=(32, 32), compression='zlib', predictor=3)),
    ('white is zero', GREY, dict(photometric='miniswhite', tile=(64, 64))),
    ('palette', (GREY//256).astype('u1'),
     dict(photometric='palette', colormap=r.integers(0, 256, (3, 256)).astype('u2')*257)),
    ('alpha', np.dstack([RGB, RGB[..., :1]]), dict(photometric='rgb', extrasamples=['unassalpha'], tile=(64, 64))),
    ('jpeg', RGB, dict(compression='jpeg', tile=(64, 64), photometric='ycbcr')),
    ('planar strips', RGB.transpose(2, 0, 1).copy(),
     dict(photometric='rgb', planarconfig='separate', rowsperstrip=11, compression='lzw')),
    ('2 channels', np.dstack([GREY, GREY]), {}), ('signed', GREY.astype('i4')*-3, dict(byteorder='>')),
    ('turned', GREY, dict(extratags=[(274, 'H', 1, 6, True)])),
    ('lzma', GREY, dict(compression='lzma', rowsperstrip=9)),
    ('ome', np.stack([GREY, GREY//2]),
     dict(ome=True, metadata=dict(axes='CYX', PhysicalSizeX=.5, PhysicalSizeY=.5), tile=(64, 64))),
    ('5 channels', np.stack([GREY//k for k in range(1, 6)]), dict(imagej=True, metadata=dict(axes='CYX')))])
def test_tiffs_of_every_kind(tmp_path, name, a, options):
    tifffile.imwrite(tmp_path/'a.tif', a, **options)
    whole, im = read_image(tmp_path/'a.tif'), open_large(tmp_path/'a.tif')
    b = whole.array.reshape(*whole.array.shape[:2], -1)
    assert im.shape == b.shape and im.dtype == b.dtype and (im[:, :] == b).all()
    assert (im[60:70, 33:99] == b[60:70, 33:99]).all() and im.spacing == whole.spacing and im.unit == whole.unit

def test_jpeg_with_shared_tables(tmp_path):
    from PIL import Image
    Image.fromarray(RGB).save(tmp_path/'a.tif', compression='jpeg')
    assert (open_large(tmp_path/'a.tif')[:, :] == read_image(tmp_path/'a.tif').array).all()

def test_a_full_disk_is_told(tmp_path):
    code = '''import resource, numpy as np
from cytokit.segmentation.tiling import predict_large
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
predict_large(np.zeros((900, 900)), lambda x: x.transpose(0, 3, 1, 2), out='m.npy')'''
    p = subprocess.run([sys.executable, '-c', code], cwd=tmp_path,
                       env=dict(ENV, PYTHONPATH=str(Path(__file__).resolve().parents[2])), capture_output=True,
                       text=True)
    assert 'InputError: m.npy: no room on the disk' in p.stderr and not list(tmp_path.iterdir())

def test_a_pyramid_is_read_at_its_finest_level(tmp_path):
    big = np.kron(GREY, np.ones((4, 4), 'u2'))
    with tifffile.TiffWriter(tmp_path/'p.ome.tif') as t:
        t.write(big, tile=(64, 64), subifds=2, compression='zlib')
        for k in (2, 4): t.write(big[::k, ::k], tile=(64, 64), subfiletype=1, compression='zlib')
    with tifffile.TiffWriter(tmp_path/'pages.tif') as t:
        for k in (4, 1): t.write(big[::k, ::k], tile=(64, 64), compression='zlib')
    for n in ('p.ome.tif', 'pages.tif'):
        assert (open_large(tmp_path/n)[100:300, 5:77][..., 0] == big[100:300, 5:77]).all()

@pytest.mark.parametrize('version', [2, 3])
def test_zarr(tmp_path, version):
    zarr = pytest.importorskip('zarr', reason='zarr is not installed')
    plain = zarr.create_array(tmp_path/'a.zarr', shape=(3, *GREY.shape), chunks=(1, 50, 60), dtype='u2',
                              zarr_format=version)
    a = np.stack([GREY, GREY//2, GREY//3]); plain[:] = a
    im = open_large(tmp_path/'a.zarr')
    assert im.shape == (*GREY.shape, 3) and im.dtype == np.uint16
    assert (im[40:60, 50:70] == a[:, 40:60, 50:70].transpose(1, 2, 0)).all()
    g = zarr.create_group(tmp_path/'ome.zarr', zarr_format=version)
    g.create_array('0', shape=(1, 3, 1, *GREY.shape), chunks=(1, 1, 1, 64, 64), dtype='u2')[:] = a[None, :, None]
    many = [dict(axes=[dict(name=x) for x in 'tczyx'], datasets=[dict(path='0')])]
    g.attrs.update(dict(ome=dict(multiscales=many)) if version == 3 else dict(multiscales=many))
    assert (open_large(tmp_path/'ome.zarr')[40:60, 50:70] == a[:, 40:60, 50:70].transpose(1, 2, 0)).all()
    many[0]['datasets'][0]['path'] = '../a.zarr'
    g.attrs.update(dict(ome=dict(multiscales=many)) if version == 3 else dict(multiscales=many))
    with pytest.raises(InputError, match='outside'): open_large(tmp_path/'ome.zarr')

def test_labels_need_32_bits_when_there_are_many(tmp_path):
    dots = np.zeros((1, 600, 600), 'f4'); dots[:, ::2, ::2] = 1
    from scipy import ndimage
    assert objects_large(dots, lambda m: ndimage.label(m[0])[0], tmp_path/'n.tif', tile=128, overlap=16) == 90000
    a = tifffile.memmap(tmp_path/'n.tif')
    assert a.dtype == np.uint32 and (np.sort(a[a > 0]) == np.arange(1, 90001)).all()

def test_a_long_object_over_many_blocks_is_one(tmp_path):
    from scipy import ndimage
    m = np.zeros((1, 500, 500), 'f4')
    m[0, 5:495, 5] = m[0, 494, 5:495] = m[0, 5:495, 494] = 1
    m[0, 200:210, 200:210] = 1
    n = objects_large(m, lambda m: ndimage.label(m[0])[0], tmp_path/'n.tif', tile=100, overlap=20)
    assert n == 2

def test_touching_cells_split_by_watershed_are_those_of_the_whole_image(tmp_path):
    from scipy import ndimage
    from skimage.segmentation import watershed
    from cytokit.data.preprocess import Preprocessing, normalise
    def split(m):
        inside = m[0] > .2
        depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 2)
        return watershed(-depth, ndimage.label((depth == ndimage.maximum_filter(depth, 9)) & inside)[0], mask=inside)
    m = normalise(make_cells(0, 640, 1000, overlap=.7)[0], Preprocessing())[None]  # clumps of up to 273 pixels
    n, truth = objects_large(m, split, tmp_path/'n.tif', tile=256, overlap=128), split(m)
    pairs = np.unique(np.stack([truth.ravel(), tifffile.imread(tmp_path/'n.tif').ravel().astype('i4')]), axis=1)
    assert n == truth.max() and pairs.shape[1] == n + 1

def test_pixels_that_are_no_numbers(tmp_path):
    from cytokit.data.preprocess import Preprocessing
    a = GREY.astype('f4'); a[:40] = np.nan; a[50, 50] = np.inf
    got = predict_large(a, lambda x: x.transpose(0, 3, 1, 2), preprocessing=Preprocessing(), tile=64, overlap=8)
    assert np.isfinite(got).all() and (got[0, :40] == 0).all() and got[0, 50, 50] == 1

def test_bad_files(tmp_path):
    write_slide(tmp_path/'s.tif', 600)
    raw = (tmp_path/'s.tif').read_bytes()
    for n in (0, 3, 8, 100, 300, len(raw)//2, len(raw) - 1):
        (tmp_path/'cut.tif').write_bytes(raw[:n])
        with pytest.raises(InputError) as e: open_large(tmp_path/'cut.tif')
        assert '\n' not in str(e.value) and 'cut.tif' in str(e.value)
    r = np.random.default_rng(0)
    for i in range(40):  # flipped bytes: an InputError or pixels, nothing else
        b = bytearray(raw); b[r.integers(0, 400) if i % 2 else r.integers(0, len(raw))] ^= 1 << r.integers(8)
        (tmp_path/'cut.tif').write_bytes(b)
        try: open_large(tmp_path/'cut.tif')[:512, :512]
        except InputError as e: assert '\n' not in str(e)
    np.save(tmp_path/'a.npy', GREY); (tmp_path/'b.npy').write_bytes((tmp_path/'a.npy').read_bytes()[:-10])
    (tmp_path/'empty').mkdir(); (tmp_path/'t.png').write_text('hello')
    for n in ('b.npy', 'empty', 't.png'):
        with pytest.raises(InputError): open_large(tmp_path/n)
    with pytest.raises(InputError, match='uint16'): Maps(tmp_path/'a.npy')
