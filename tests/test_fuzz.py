"""Every parser of a file that a person hands in, fed with small valid files that were corrupted: only an `InputError` may come out.

A short run with fixed seeds belongs to every test run; `make fuzz` searches for ten minutes (`CYTOKIT_FUZZ_SECONDS`), anew each time.
"""
import contextlib, io, json, os, resource, shutil, signal, sys, tempfile, time, warnings, zipfile
from functools import lru_cache
from pathlib import Path
import numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image as PIL
from cytokit.core import InputError
from cytokit.data.formats import read_image
from cytokit.data.datasets import apply_plan, read_table
from cytokit.data.annotations import mask_classes, read_labels
from cytokit.data.pairs import pairs

SECONDS = float(os.environ.get('CYTOKIT_FUZZ_SECONDS') or 0)
HANGS, MEMORY = 60, 3 << 30  # seconds that one file may take at the very most, and bytes beyond what the process holds

@contextlib.contextmanager
def bounded():
    "Inside, memory is bounded, and what does not end is a failure."
    if sys.platform != 'linux': yield; return
    def hangs(*_): raise AssertionError('it does not end')
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path('/proc/self/statm').read_text().split()[0])*resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS)
    try: yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_AS, before)

def fuzz(share, examples):
    "A test of corrupted files: so many examples with fixed seeds, or for its share of the time that was asked for."
    def decorate(test):
        if not SECONDS: return settings(max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))(test)
        search = settings(max_examples=10**3, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)(test)
        def for_a_while():
            end = time.monotonic() + share*SECONDS
            while time.monotonic() < end: search()
        for_a_while.__name__ = for_a_while.__qualname__ = test.__name__
        return for_a_while
    return decorate

def only_input_errors(read):
    "A result or one line; anything else is a fault."
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try: read()
        except InputError as e: assert '\n' not in str(e) and len(str(e)) < 2000, str(e)

@pytest.fixture(scope='module', autouse=True)
def home():
    "One folder for all files, and a finished run of each verb that leaves one."
    d = Path(tempfile.mkdtemp(prefix='cytokit-fuzz-'))
    Home.path = d
    yield d
    shutil.rmtree(d)

class Home: path = None

# ---- bytes, changed in places

changes = st.lists(st.tuples(st.sampled_from(['flip', 'cut', 'insert', 'zero', 'large', 'repeat']), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32 - 1)), min_size=1, max_size=6)

def changed(raw, how):
    "`raw` with each of the changes `how`: (kind, where, a number)."
    raw = bytearray(raw)
    for kind, where, n in how:
        at = int(where*max(1, len(raw)))
        if kind == 'flip' and raw: raw[at] ^= 1 << n % 8
        if kind == 'cut': del raw[at:at + n % 64 if n % 3 else None]
        if kind == 'insert': raw[at:at] = n.to_bytes(4, 'little')[:1 + n % 4]
        if kind == 'zero': raw[at:at + 1 + n % 8] = bytes(1 + n % 8)
        if kind == 'large': raw[at:at + 4] = (2**32 - 1 - n % 3).to_bytes(4, 'big' if n % 2 else 'little')
        if kind == 'repeat': raw[at:at] = raw[at:at + 1 + n % 200]
    return bytes(raw)

def image_files():
    "Small valid files of each format that is read."
    import nibabel, tifffile
    r = np.random.default_rng(0)
    grey, deep, colour = r.integers(0, 255, (12, 9), dtype=np.uint8), r.integers(0, 60000, (12, 9), dtype=np.uint16), r.integers(0, 255, (12, 9, 3), dtype=np.uint8)
    def pil(a, form, **kw):
        b = io.BytesIO(); PIL.fromarray(a).save(b, form, **kw); return b.getvalue()
    def tiff(a, **kw):
        b = io.BytesIO(); tifffile.imwrite(b, a, **kw); return b.getvalue()
    files = {f'{n}.png': pil(a, 'PNG') for n, a in dict(grey=grey, deep=deep, colour=colour).items()}
    files |= {f'{n}.{s}': pil(a, f) for n, a in dict(grey=grey, colour=colour).items() for s, f in (('jpg', 'JPEG'), ('bmp', 'BMP'))}
    files |= {'plain.tif': tiff(deep), 'ome.ome.tif': tiff(np.stack([deep]*3), ome=True, metadata=dict(axes='ZYX')), 'deflate.tif': tiff(colour, compression='zlib', photometric='rgb'),
              'tiled.tif': tiff(r.integers(0, 255, (40, 40), dtype=np.uint8), tile=(16, 16), compression='lzw'), 'imagej.tif': tiff(deep, imagej=True)}
    volume = nibabel.Nifti1Image(r.integers(0, 999, (5, 6, 7), dtype=np.int16), np.eye(4))
    files['v.nii'] = volume.to_bytes()
    import gzip
    files['v.nii.gz'] = gzip.compress(files['v.nii'])
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid
    meta = FileMetaDataset(); meta.TransferSyntaxUID = ExplicitVRLittleEndian; meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.7'; meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=['a'])
    ds = FileDataset('', {}, file_meta=meta, preamble=b'\0'*128)
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 9, 1, 'MONOCHROME2', 16, 16, 15, 0
    ds.PixelData, ds.PatientID, ds.PixelSpacing, ds.Modality = deep.tobytes(), 'p1', [.5, .5], 'MR'
    b = io.BytesIO(); ds.save_as(b, enforce_file_format=True); files['d.dcm'] = b.getvalue()
    return files

IMAGES = image_files()

@fuzz(.3, 250)
@given(st.sampled_from(sorted(IMAGES)), changes)
def test_images(name, how):
    path = Home.path/f'image_{name}'
    path.write_bytes(changed(IMAGES[name], how))
    only_input_errors(lambda: read_image(path, 2**22))

@fuzz(.05, 40)
@given(st.sampled_from([n for n in sorted(IMAGES) if 'tif' in n]), changes)
def test_windows_of_large_images(name, how):
    from cytokit.data.windows import open_large
    path = Home.path/f'large_{name}'
    path.write_bytes(changed(IMAGES[name], how))
    only_input_errors(lambda: open_large(path)[0:4, 0:4])

# ---- outlines

def roi():
    from roifile import ImagejRoi
    return ImagejRoi.frompoints(np.array([(1, 1), (9, 1), (9, 9), (1, 9)], 'f4')).tobytes()

def zipped(raw, **kw):
    b = io.BytesIO()
    with zipfile.ZipFile(b, 'w', **kw) as z: z.writestr('a.roi', raw); z.writestr('b.roi', raw)
    return b.getvalue()

ROI = roi()
OUTLINES = {'a.roi': ROI, 'stored.zip': zipped(ROI), 'deflated.zip': zipped(ROI, compression=zipfile.ZIP_DEFLATED), 'bz2.zip': zipped(ROI, compression=zipfile.ZIP_BZIP2)}

@fuzz(.1, 120)
@given(st.sampled_from(sorted(OUTLINES)), changes, st.booleans())
def test_outlines(name, how, inside):
    path = Home.path/f'outline_{name}'
    path.write_bytes(zipped(changed(ROI, how)) if inside and name.endswith('zip') else changed(OUTLINES[name], how))
    only_input_errors(lambda: read_labels(path, (24, 24)))

# ---- JSON, a value of it replaced

odd = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.sampled_from(['', 'x', '=1', '\0', '/etc', '..', '1'*400, '\udce9', 'é']), lambda o: st.lists(o, max_size=3) | st.dictionaries(st.sampled_from(['a', 'name', 'mean', 'kind']), o, max_size=2), max_leaves=4)

def places(d, path=()):
    "Every place in a JSON."
    for k, v in d.items() if isinstance(d, dict) else enumerate(d[:2]) if isinstance(d, list) else ():
        yield (*path, k)
        yield from places(v, (*path, k))

def replaced(text, where, new):
    "JSON text in which the value at one place is `new`, or missing."
    d = json.loads(text)
    found = list(places(d))
    place = found[int(where*len(found))]
    at = d
    for k in place[:-1]: at = at[k]
    if new == 'x' and isinstance(at, dict): del at[place[-1]]
    else: at[place[-1]] = new
    return json.dumps(d).encode()

RING = [[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]
GEO = json.dumps(dict(type='FeatureCollection', features=[dict(type='Feature', id='a', geometry=dict(type=t, coordinates=c), properties=dict(classification=dict(name=n, names=[n]))) for t, c, n in (('Polygon', [RING], 'a'), ('MultiPolygon', [[RING], [RING]], 'b'))]))
COCO = json.dumps(dict(images=[dict(id=1, file_name='a.png', height=24, width=24)], categories=[dict(id=1, name='cell'), dict(id=2, name='other')],
                       annotations=[dict(id=1, image_id=1, category_id=1, iscrowd=0, segmentation=[[1, 1, 9, 1, 9, 9]]), dict(id=2, image_id=1, category_id=2, iscrowd=1, segmentation=dict(size=[24, 24], counts=[10, 5, 561])),
                                    dict(id=3, image_id=1, category_id=2, segmentation=dict(size=[24, 24], counts='0`0'))]))

@fuzz(.15, 150)
@given(st.sampled_from([GEO, COCO]), st.floats(0, 1, exclude_max=True), odd, changes, st.integers(0, 3))
def test_annotations(text, where, new, how, bytewise):
    d = Home.path/'notes'; (d/'images').mkdir(parents=True, exist_ok=True)
    (d/'images'/'a.png').write_bytes(IMAGES['grey.png'])
    path = d/('a.geojson' if text is GEO else 'a.json')
    path.write_bytes(replaced(text, where, new) if bytewise else changed(text.encode(), how))
    only_input_errors(lambda: read_labels(path, (24, 24), image=d/'images'/'a.png'))
    only_input_errors(lambda: read_labels(path, (24, 24), 'class', ['a', 'b', 'cell', 'other'], image='a.png'))
    only_input_errors(lambda: mask_classes(pd.DataFrame(dict(target=[str(path)]))))
    only_input_errors(lambda: pairs(d/'images', path))

# ---- tables

TABLE = 'image,target,group,split\n' + ''.join(f'a{i}.png,{"ab"[i % 2]},g{i},{"train" if i < 4 else "valid"}\n' for i in range(6))
PLAN = 'image,action,to,check,reason\na0.png,drop,,,x\na1.png,relabel,a,,x\na2.png,move,valid,,\n'
SILENCE = 'check,file,reason\ndark,a*.png,so it is\n'
cells = st.sampled_from(['', ',', '"', '\n', '\r', ';', '\t', '\0', '=1', "'=1", '../a0.png', 'nan', 'inf', '-1', '1e999', 'é', 'train', 'test', 'task', 'mask', 'a0.png', '[', '*'*50, '(' * 9, '\ufeff'])

@fuzz(.15, 150)
@given(st.sampled_from(['table', 'plan', 'silence']), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), cells), max_size=5), changes, st.integers(0, 3))
def test_tables(kind, put, how, bytewise):
    from cytokit.quality.findings import read_silence, silence_reasons
    for i in range(6): (Home.path/f'a{i}.png').write_bytes(IMAGES['grey.png'])
    text = dict(table=TABLE, plan=PLAN, silence=SILENCE)[kind]
    for where, cell in put: text = text[:(at := int(where*len(text)))] + cell + text[at:]
    raw = text.encode()
    if not bytewise: raw = changed(raw, how)
    path = Home.path/f'{kind}.csv'
    path.write_bytes(raw)
    if kind == 'table': only_input_errors(lambda: read_table(path)); only_input_errors(lambda: read_table(path, task='number'))
    if kind == 'plan':
        for task in ('class', 'number'):
            t = pd.DataFrame(dict(image=[str(Home.path/f'a{i}.png') for i in range(6)], target=[.5, 1.]*3 if task == 'number' else ['a', 'b']*3, split=['train']*3 + ['valid']*3))
            t.attrs = dict(name='t', root=str(Home.path), task=task)
            only_input_errors(lambda: apply_plan(t, path))
    if kind == 'silence': only_input_errors(lambda: silence_reasons(pd.DataFrame([dict(check='dark', file='a0.png')]), read_silence(path)))

@fuzz(.03, 30)
@given(st.floats(0, 1, exclude_max=True), odd)
def test_earlier_check(where, new):
    from cytokit.quality.check import _earlier
    path = Home.path/'check.json'
    path.write_bytes(replaced(json.dumps(dict(source='x', cytokit='1', files=2, findings=[dict(file='a.png', check='dark', severity='warning', value=1., message='x')], against=None)), where, new))
    only_input_errors(lambda: _earlier(path))

# ---- what a run folder holds

@lru_cache
def finished_runs(home):
    "A finished run of each verb: the bytes of its files."
    from cytokit.cli import main
    r = np.random.default_rng(0)
    for c in 'ab':
        for i in range(6):
            (home/'x'/c).mkdir(parents=True, exist_ok=True)
            PIL.fromarray(r.integers(0, 255, (24, 24), dtype=np.uint8)).save(home/'x'/c/f'{i}.png')
    tiny = ['--epochs', '1', '--precision', 'float32', '--lr', '0.001']
    assert main(['train', str(home/'x'), *tiny, '--size', '16', '--out', str(home/'train')]) == 0
    assert main(['compare', str(home/'x'), *tiny, '--size', '16', '--methods', 'majority,logistic', '--seeds', '1', '--out', str(home/'compare')]) == 0
    assert main(['sample', 'cells', str(home/'cells'), '--n', '6', '--set', 'masks=true', '--set', 'per_plate=2']) == 0
    assert main(['segment', 'train', str(home/'cells'), '--preset', 'tiny', '--patch', '32', *tiny, '--out', str(home/'segment')]) == 0
    return {(k, p.name): p.read_bytes() for k in ('train', 'compare', 'segment') for p in (home/k).iterdir() if p.suffix in ('.json', '.csv', '.safetensors')}

def read_run(kind, home):
    "What a person reads of a run."
    import matplotlib
    matplotlib.use('Agg')
    from cytokit.evaluation.compare import Comparison
    from cytokit.training.models import load_model
    from cytokit.segmentation.pipeline import Segmentation
    from cytokit.training.fit import Run
    folder = home/kind
    if kind != 'compare': only_input_errors(lambda: load_model(folder))
    made = {}
    def open_it(): made['run'] = dict(train=Run, compare=Comparison, segment=Segmentation)[kind](folder)
    only_input_errors(open_it)
    if 'run' not in made: return
    if kind == 'train': only_input_errors(lambda: made['run'].predict([home/'x'/'a'/'0.png', home/'none.png']))
    if kind == 'segment': only_input_errors(lambda: made['run'].objects(sorted((home/'cells'/'images').iterdir())[0]))
    if kind == 'compare': only_input_errors(lambda: made['run'].predictions)

@fuzz(.22, 60)
@given(st.data())
def test_runs(data):
    files = finished_runs(Home.path)
    kind, name = data.draw(st.sampled_from(sorted(files)))
    good = files[kind, name]
    as_json = name.endswith('.json') and data.draw(st.integers(0, 3))
    raw = replaced(good.decode(), data.draw(st.floats(0, 1, exclude_max=True)), data.draw(odd)) if as_json else changed(good, data.draw(changes))
    path = Home.path/kind/name
    path.write_bytes(raw)
    try: read_run(kind, Home.path)
    finally: path.write_bytes(good)
