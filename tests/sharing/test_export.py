"Each kind of model as other programs read it: onnxruntime, bioimageio.core, a folder without its run; bad input in one line."
import json, os, shutil, sys, zipfile
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from cytokit_process import cytokit
from cytokit.core import InputError
from cytokit.data.preprocess import Preprocessing
from cytokit.data.synthetic import write_sample
from cytokit.sharing.export import export
from cytokit.sharing.trained import read_trained

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('bioimageio.core')

@pytest.fixture(scope='module')
def home(tmp_path_factory): return tmp_path_factory.mktemp('export')

@pytest.fixture(scope='module')
def textures(home): return write_sample('textures', home/'textures', n=36)

def write_set(folder, dtype, channels=1, n=16):
    "Images of one number type and of several sizes, with a number and a class."
    r, rows = np.random.default_rng(0), []
    folder.mkdir()
    for k in range(n):
        a = r.random((30 + 5*(k % 4), 50 - k, channels))*(60 + 10*k)
        a = (a*(1 if dtype == 'uint8' else 90)).astype(dtype)
        Image.fromarray(a if channels == 3 else a[..., 0]).save(folder/f'{k}.png')
        rows.append(dict(image=f'{k}.png', target=3*k + .5, split='valid' if k % 3 == 0 else 'train'))
    pd.DataFrame(rows).to_csv(folder/'numbers.csv', index=False)
    names = ['few' if k < n//2 else 'many' for k in range(n)]
    pd.DataFrame(rows).assign(target=names).to_csv(folder/'classes.csv', index=False)
    return folder

def ask(folder, image):
    "What onnxruntime says of one image file."
    a = np.asarray(Image.open(image))
    a = a if a.ndim == 3 else a[..., None]
    session = onnxruntime.InferenceSession(str(folder/'model.onnx'))
    return session.run(None, {'image': a[None].astype('f4')})[0][0]

NORMS = [('uint16', dict(norm='percentile', size=24)), ('uint16', dict(norm='zscore', size=20, resize_mode='crop')),
         ('uint8', dict(norm='dtype', size=24, resize_mode='stretch')),
         ('uint16', dict(norm='zscore_set', size=24)), ('uint16', dict(norm='window', low=500., high=9000., size=7)),
         ('uint8', dict(norm='percentile', size=24, channels=3))]

@pytest.mark.parametrize('dtype, how', NORMS)
def test_each_preprocessing(tmp_path, dtype, how):
    from cytokit.training.fit import train
    how = dict(how, size=max(how['size'], 16))
    files = write_set(tmp_path/'set', dtype)
    run = train(files/'classes.csv', out=tmp_path/'run', preprocessing=Preprocessing(**how), epochs=1, lr=.003,
                precision='float32')
    found = export(run, out=tmp_path/'onnx')
    assert found.images == 'held out' and found.difference < 2e-5
    said = run.predict([files/'2.png']).filter(like='score_').to_numpy()[0]
    assert np.abs(ask(tmp_path/'onnx', files/'2.png') - said).max() < 2e-5

@pytest.mark.parametrize('loss', ['huber', 'bins'])
def test_numbers_come_back_in_their_unit(tmp_path, loss):
    from cytokit.training.fit import train
    files = write_set(tmp_path/'set', 'uint16')
    run = train(files/'numbers.csv', out=tmp_path/'run', preprocessing=Preprocessing(size=16), loss=loss, epochs=2, lr=.003,
                precision='float32')
    found = export(run, out=tmp_path/'onnx')
    assert found.output == 'number' and found.difference < 1e-3
    said = run.predict([files/'2.png'])['predicted'][0]
    assert abs(float(ask(tmp_path/'onnx', files/'2.png')) - said) < 1e-3

@pytest.mark.parametrize('method', ['frozen', 'finetune-rgb8'])
def test_pretrained_backbones(home, textures, tmp_path, method):
    from cytokit.training.fit import train
    weights = 'imagenet' if method == 'frozen' else 'textures'
    run = train(textures, method, tmp_path/'run', Preprocessing(size=32), epochs=1, lr=.003, weights=weights, augment='none')
    found = export(run, out=tmp_path/'onnx')
    assert found.difference < 1e-4 and found.parameters == run.result['n_parameters']

@pytest.fixture(scope='module')
def unets(home):
    "A UNet of objects, and one of classes on an encoder."
    from cytokit.segmentation.pipeline import segment
    cells = write_sample('cells', home/'cells', n=12, masks=True, size=50, per_plate=3)
    quick = dict(epochs=1, patch=32, steps=2)
    segment(cells, out=home/'instance', preset='tiny', **quick)
    (home/'classes'/'images').mkdir(parents=True)
    (home/'classes'/'masks').mkdir()
    r = np.random.default_rng(0)
    for k in range(8):
        labels = np.repeat(np.repeat(r.integers(0, 3, (4, 5)), 12, 0), 12, 1).astype('u1')
        noise = r.integers(0, 60, (*labels.shape, 3))
        Image.fromarray((labels[..., None]*70 + noise).astype('u1')).save(home/'classes'/'images'/f'{k}.png')
        Image.fromarray(labels).save(home/'classes'/'masks'/f'{k}.png')
    segment(home/'classes', out=home/'semantic', kind='class', **quick)
    segment(cells, out=home/'binary', kind='binary', preset='tiny', **quick)
    return home

@pytest.mark.parametrize('kind', ['instance', 'semantic', 'binary'])
def test_unets_of_any_size(unets, tmp_path, kind):
    found = export(unets/kind, out=tmp_path/'onnx')
    assert found.output == 'maps' and found.difference < 1e-4
    trained = read_trained(unets/kind)
    session = onnxruntime.InferenceSession(str(tmp_path/'onnx'/'model.onnx'))
    c = trained.preprocessing.channels
    from cytokit.data.preprocess import Image as Pixels
    for h, w in ((37, 64), (5, 90)):  # the second is too small for its mirror image
        a = np.random.default_rng(1).random((h, w, c)).astype('f4')*200
        maps = session.run(None, {'image': a[None]})[0][0]
        if json.loads((tmp_path/'onnx'/'model.json').read_text())['preprocessing']['norm'] == 'dtype': continue
        assert np.abs(maps - trained.answer(Pixels(a, 'YXC'))).max() < 1e-4

def test_a_package_that_bioimageio_tests_green(unets, tmp_path):
    import bioimageio.core
    for kind in ('instance', 'semantic'):
        r = cytokit('export', f'../{unets.name}/{kind}', '--to', 'bioimageio', '--out', f'{kind}.zip', '--author', 'A Person',
                    '--license', 'CC-BY-4.0', '--json', f'{kind}.json', cwd=tmp_path_to(unets, tmp_path))
        assert r.returncode == 0, r.stderr
        package = unets.parent/tmp_path.name/f'{kind}.zip'
        summary = bioimageio.core.test_description(package)
        assert summary.status == 'passed', summary.format()
        tested = [d.name for d in summary.details]
        assert all(any(f'({w})' in name for name in tested) for w in ('torchscript', 'onnx'))
        assert json.loads(package.with_suffix('.json').read_text())['difference'] < 1e-4
        assert {'README.md', 'cover.png', 'weights.pt', 'weights.onnx'} <= set(zipfile.ZipFile(package).namelist())

def tmp_path_to(unets, tmp_path):
    "A folder next to that of the runs, so that the command is given relative paths."
    folder = unets.parent/tmp_path.name
    folder.mkdir(exist_ok=True)
    return folder

@pytest.fixture(scope='module')
def run(home, textures):
    from cytokit.training.fit import train
    return train(textures, out=home/'run', preprocessing=Preprocessing(size=16), epochs=1, lr=.003).folder

def test_safetensors_need_no_run(run, tmp_path):
    assert export(run, 'safetensors', tmp_path/'copy').difference == 0
    shutil.move(tmp_path/'copy', tmp_path/'elsewhere')
    files = read_trained(run).held_out(2)
    for f in files: assert np.array_equal(read_trained(tmp_path/'elsewhere').answer(f), read_trained(run).answer(f))
    assert os.system(f'cd {tmp_path}/elsewhere && sha256sum -c --status SHA256SUMS') == 0

def refuse(run, to, out, words):
    "One line, and nothing is left."
    before = sorted(out.parent.iterdir())
    with pytest.raises(InputError, match=words) as e: export(run, to, out)
    assert '\n' not in str(e.value) and sorted(out.parent.iterdir()) == before

def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path):
    from cytokit.evaluation.compare import compare
    out = tmp_path/'out'
    refuse(run, 'tflite', out, 'one of onnx')
    refuse(run, 'bioimageio', out, 'model of classes')
    refuse(tmp_path/'none', 'onnx', out, 'no such folder')
    cut = shutil.copytree(run, tmp_path/'cut')
    (cut/'result.json').unlink()
    refuse(cut, 'onnx', out, 'not finished')
    full = tmp_path/'full'
    full.mkdir()
    (full/'mine.txt').touch()
    refuse(run, 'onnx', full, 'exists already')
    damaged = shutil.copytree(run, tmp_path/'damaged')
    (damaged/'model.safetensors').write_bytes((run/'model.safetensors').read_bytes()[:-9])
    refuse(damaged, 'onnx', out, 'not readable as safetensors')
    compared = compare(run.parent/'textures', ['majority', 'logistic'], tmp_path/'compared', Preprocessing(size=16), seeds=1)
    refuse(compared.folder, 'onnx', out, 'keeps no networks')

def test_an_operator_that_onnx_lacks_is_named(run, tmp_path):
    from cytokit.training.models import build_backbone, load_model, save_model
    other = shutil.copytree(run, tmp_path/'nest')
    extra = load_model(run)[1]
    extra['preprocessing'] |= dict(size=224)
    save_model(other, build_backbone('nest_tiny', 3, len(extra['classes']), .5, .5), **extra)
    refuse(other, 'onnx', tmp_path/'out', 'nest_tiny cannot be written as ONNX.*scaled_dot_product_attention')

def test_a_file_that_answers_otherwise_is_not_kept(run, tmp_path, monkeypatch):
    from cytokit.sharing import export as module
    monkeypatch.setattr(module, 'TOLERANCE', 0.)  # no two programs round alike
    refuse(run, 'onnx', tmp_path/'out', 'answers differently')

def test_a_missing_package_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    refuse(run, 'onnx', tmp_path/'out', r'pip install "cytokit-nb\[export\]"')

def test_without_images_synthetic_ones_are_compared(run, tmp_path):
    alone = shutil.copytree(run, tmp_path/'alone')
    (alone/'split.csv').unlink()
    r = cytokit('export', 'alone', cwd=tmp_path)
    assert r.returncode == 0 and 'synthetic' in r.stdout and (alone/'export_onnx'/'README.md').exists(), r.stderr
