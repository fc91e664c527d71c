"A run killed with SIGKILL goes on to the same weights; labels of every kind; real sets; bad input in one line."
import json, signal, time
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from scipy import ndimage
from safetensors.torch import load_file
from cytokit_process import cytokit, process
from cytokit.core import InputError
from cytokit.data.synthetic import make_cells, write_sample

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
real = pytest.mark.skipif(not SHARED.exists(), reason='../shared/data is not here')
QUICK = dict(preset='tiny', epochs=2, patch=64, steps=6)

CODE = '''
import sys, os, signal
from cytokit.segmentation import fit, pipeline
data, out, kill = sys.argv[1:4]
after = fit._Rounds.after_batch
def cut(self):
    after(self)
    if kill == 'yes' and self.training and self.epoch == 1 and self.iter == 2: os.kill(os.getpid(), signal.SIGKILL)
fit._Rounds.after_batch = cut
if kill == 'resume':
    from cytokit.training.runs import resume
    resume(out)
else: pipeline.segment(data, out=out, preset='tiny', epochs=3, patch=64, steps=4, seed=3, patience=2)
'''

@pytest.fixture(scope='session')
def cells(tmp_path_factory):
    return write_sample('cells', tmp_path_factory.mktemp('segment')/'cells', n=24, masks=True, per_plate=4, size=80)

def test_a_killed_run_goes_on_to_the_same_weights(cells, tmp_path):
    call = lambda *args: process(CODE, *args)
    whole, cut = tmp_path/'whole', tmp_path/'cut'
    assert (r := call(cells, whole, 'no')).returncode == 0, r.stderr
    assert call(cells, cut, 'yes').returncode == -signal.SIGKILL
    assert not (cut/'result.json').exists() and (cut/'checkpoint.safetensors').exists()
    assert (r := call(cells, cut, 'resume')).returncode == 0, r.stderr
    a, b = (load_file(p/'model.safetensors') for p in (whole, cut))
    assert all(a[k].equal(b[k]) for k in a)
    assert (whole/'predictions.csv').read_bytes() == (cut/'predictions.csv').read_bytes()
    from cytokit.training.runs import rerun
    assert rerun(whole)[1] == []

def test_a_nan_in_training_is_one_line(cells, tmp_path, monkeypatch):
    from cytokit.training import fit as training
    from cytokit.segmentation.pipeline import segment
    monkeypatch.setitem(training._REAL, 'lr', 1e30)  # beyond what is accepted, so that the training really breaks down
    with pytest.raises(InputError, match='infinite or NaN'): segment(cells, out=tmp_path/'run', lr=1e25, **QUICK)

@pytest.mark.parametrize('settings',
                         [dict(target='foreground'), dict(target='border', loss='focal'),
                          dict(loss='boundary', preset=None), dict(seconds=.5), dict(augment='none', loss='dice')])
def test_settings(cells, tmp_path, settings):
    from cytokit.segmentation.pipeline import segment
    r = segment(cells, out=tmp_path/'run', **{**QUICK, **settings})
    assert 0 <= r.result['scores']['unet']['dice']['mean'] <= 1 and r.result['scores']['classical']['dice']['mean'] > .8
    maps, unsure = r.maps(next((cells/'images').glob('*.png')), tta=True)
    assert maps.shape == (1 if settings.get('target') == 'foreground' else 2, 80, 80) and unsure.shape == (80, 80)
    assert 0 <= maps.min() <= maps.max() <= 1 and unsure.max() > 0

def _folder(home, n, make):
    for d in ('images', 'masks'): (home/d).mkdir(parents=True)
    for i in range(n):
        img, lab = make(i)
        Image.fromarray(img).save(home/f'images/{i}.png'); Image.fromarray(lab).save(home/f'masks/{i}.png')
    return home

def test_classes(tmp_path):
    from cytokit.segmentation.pipeline import segment
    def make(i):
        img, lab = make_cells(f'class {i}', size=72, n_cells=8)
        kind = np.where(lab > 0, 1 + lab % 2, 0)
        return (img*np.array([0, .4, 1])[kind]).astype('u2') + 500, kind.astype('u1')
    r = segment(_folder(tmp_path/'set', 16, make), out=tmp_path/'run', **{**QUICK, 'epochs': 6, 'steps': 12})
    assert r.kind == 'class'
    assert set(r.result['scores']['unet']) == {'dice of class 1', 'dice of class 2', 'iou of class 1', 'iou of class 2'}
    assert r.result['scores']['unet']['dice of class 2']['mean'] > .6
    assert set(np.unique(r.objects(tmp_path/'set/images/0.png'))) <= {0, 1, 2}
    d = r.predict([tmp_path/'set/images/0.png'], tmp_path/'out')
    assert {'share_1', 'share_2', 'labels'} < set(d)
    assert len(r.evaluate(tmp_path/'set').scored['unet'][0]) == 32
    with pytest.raises(InputError, match='does not go with'):
        segment(tmp_path/'set', out=tmp_path/'no', target='distance')

def test_binary_colour_and_many_channels(tmp_path):
    import tifffile
    from cytokit.segmentation.pipeline import segment
    make = lambda i: make_cells(f'binary {i}', size=64, n_cells=6, overlap=0)
    home = _folder(tmp_path/'colour', 10,
                   lambda i: ((np.stack([make(i)[0]]*3, -1) >> 8).astype('u1'), ((make(i)[1] > 0)*255).astype('u1')))
    r = segment(home, out=tmp_path/'a', **QUICK)
    assert r.kind == 'binary' and r.config['settings']['target'] == 'foreground'
    assert r.result['instance_params']['smooth'] is None
    home = tmp_path/'five'
    for d in ('images', 'masks'): (home/d).mkdir(parents=True)
    for i in range(8):
        img, lab = make(i)
        tifffile.imwrite(home/f'images/{i}.tif', np.stack([img//(k + 1) for k in range(5)], -1),
                         photometric='minisblack', planarconfig='contig')
        tifffile.imwrite(home/f'masks/{i}.tif', lab)
    r = segment(home, out=tmp_path/'b', **QUICK)
    assert json.loads((r.folder/'model.json').read_text())['spec']['n_in'] == 5

def test_bad_input(cells, tmp_path):
    from cytokit.segmentation.pipeline import Segmentation, segment
    textures = write_sample('textures', tmp_path/'textures', n=20)
    for bad, words in ((textures, 'cytokit train'), (tmp_path/'nothing', 'no such'), (cells/'images', 'masks')):
        with pytest.raises(InputError, match=words): segment(bad, out=tmp_path/'run', **QUICK)
        assert not (tmp_path/'run').exists()
    with pytest.raises(InputError, match='not a run folder'): Segmentation(tmp_path)
    run = segment(cells, out=tmp_path/'run', **QUICK)
    d = run.predict([tmp_path/'none.png', next((cells/'images').glob('*.png'))], tmp_path/'out')
    assert d['error'].notna().tolist() == [True, False]
    j = json.loads((tmp_path/'run/result.json').read_text()); j['instance_params']['threshold'] = 'wide'
    (tmp_path/'run/result.json').write_text(json.dumps(j))
    with pytest.raises(InputError, match='threshold'): Segmentation(tmp_path/'run')

def test_images_of_one_name_and_groups(tmp_path):
    from cytokit.segmentation.pipeline import segment
    rows = []
    for i in range(12):
        d = tmp_path/f'plate{i//2}'/f'well{i % 2}'
        d.mkdir(parents=True)
        img, lab = make_cells(f'one name {i}', size=64, n_cells=6)
        for n, a in (('image', img), ('mask', lab)): Image.fromarray(a).save(d/f'{n}.png')
        rows.append(f'{d}/image.png,{d}/mask.png,{i//2}')
    (tmp_path/'table.csv').write_text('image,target,group\n' + '\n'.join(rows))
    r = segment(tmp_path/'table.csv', out=tmp_path/'run', valid=.5, kind='instance', **QUICK)
    d = r.result['difference']
    n = (pd.read_csv(tmp_path/'run'/'split.csv')['split'] == 'valid').sum()
    assert (d['n_images'], d['n_groups']) == (n, n//2) and n >= 4
    assert r.view() and len(r.evaluate().scored['unet'][0]) == n

def test_why_a_line_is_flat(cells):
    from cytokit.data.pairs import pairs
    from cytokit.segmentation.scoring import diagnose_flat_dice
    flat, table = pd.DataFrame(dict(train_loss=[1.]*4, dice=[0.]*4)), pairs(cells)
    assert diagnose_flat_dice(pd.DataFrame(dict(train_loss=[1, .2, .1], dice=[.1, .7, .8])), table, 1e-2) == []
    assert any('learning rate is 1e-06' in s for s in diagnose_flat_dice(flat, table, 1e-6))
    assert not any('mask' in s.split('.')[0] for s in diagnose_flat_dice(flat, table, 1e-6)[:1])

def test_why_a_line_is_flat_with_bad_masks(cells, tmp_path):
    from cytokit.data.pairs import pairs
    from cytokit.segmentation.scoring import diagnose_flat_dice
    flat = pd.DataFrame(dict(train_loss=[1.]*4, dice=[0.]*4))
    for how, words in ((lambda m: m*0, 'are empty'), (lambda m: np.roll(m, (9, 7), (0, 1)), 'are shifted against'),
                       (lambda m: m*~ndimage.binary_erosion(m > 0), 'are lines')):
        home = tmp_path/words.replace(' ', '')
        for d in ('images', 'masks'): (home/d).mkdir(parents=True)
        for p in sorted((cells/'images').glob('*.png')):
            (home/'images'/p.name).write_bytes(p.read_bytes())
            Image.fromarray(how(np.asarray(Image.open(cells/'masks'/p.name)))).save(home/'masks'/p.name)
        said = diagnose_flat_dice(flat, pairs(home), 1e-2)
        assert any(words in s for s in said), said

def test_a_large_image_in_tiles(cells, tmp_path, monkeypatch):
    import tifffile
    from cytokit.segmentation import pipeline
    run = pipeline.segment(cells, out=tmp_path/'run', preset='tiny', epochs=4, patch=64)
    one, lab = make_cells(5, size=600, n_cells=240)
    tifffile.imwrite(tmp_path/'slide.tif', one, tile=(128, 128), compression='zlib')
    small = run.predict([tmp_path/'slide.tif'], tmp_path/'whole')
    monkeypatch.setattr(pipeline, '_LARGE', 2**16)
    large = run.predict([tmp_path/'slide.tif'], tmp_path/'tiled')
    a, b = (tifffile.imread(tmp_path/d/'slide_labels.tif') for d in ('whole', 'tiled'))
    assert ((a > 0) != (b > 0)).mean() < 5e-3
    assert abs(small['objects'][0] - large['objects'][0]) <= .03*small['objects'][0]

@real
def test_nuclei_in_a_minute(tmp_path):
    from cytokit.segmentation.pipeline import segment
    t = pd.read_csv(SHARED/'nuclei'/'images.csv')
    t = t[(t['split'] == 'train') & (t['width'] < 300)].head(16)
    table = pd.DataFrame(dict(image=[str(SHARED/f'nuclei/images/{i}.png') for i in t['id']],
                              target=[str(SHARED/f'nuclei/labels/{i}.png') for i in t['id']]))
    table.attrs = dict(name='nuclei', root=str(SHARED), task='mask')
    r = segment(table, out=tmp_path/'run', preset='tiny', epochs=3, steps=25)
    assert r.kind == 'instance' and r.result['scores']['unet']['dice']['mean'] > .7

@pytest.fixture(scope='session')
def two_kinds(tmp_path_factory):
    "A folder with a trained run: cells on dark and on bright background, small and large, and foreign images."
    home = tmp_path_factory.mktemp('kinds')
    for d in ('set/images', 'set/masks', 'new/images', 'new/masks', 'foreign'): (home/d).mkdir(parents=True)
    for part, n in (('set', 40), ('new', 8)):
        for i in range(n):
            size, k = (80, 1) if i % 4 < 2 else (40, 2)
            img, lab = make_cells(f'{part} {i}', size=size, n_cells=10*size//80, overlap=.2)
            img, lab = (np.kron(a, np.ones((k, k), a.dtype)) for a in (img, lab))
            Image.fromarray(img if i % 2 else img.max() - img).save(home/part/'images'/f'{i}.png')
            Image.fromarray(lab).save(home/part/'masks'/f'{i}.png')
    for i in range(5):
        noise = np.random.default_rng(i).integers(0, 2**16, (200, 150, 3)).astype('f4')
        photo = ndimage.gaussian_filter(noise, (2, 2, 0)).clip(0, 255).astype('u1')
        Image.fromarray(photo).save(home/'foreign'/f'photo{i}.png')
    r = cytokit('segment', 'train', 'set', '--out', 'run', '--kind', 'instance', '--preset', 'tiny', '--epochs', 4,
                '--patch', 64, '--json', 'train.json', cwd=home)
    assert r.returncode == 0, r.stderr
    return home, r.stdout

def test_foreign_images_are_named(two_kinds, tmp_path):
    home, _ = two_kinds
    r = cytokit('segment', 'predict', 'run', 'new/images', 'foreign', '--out', tmp_path/'out', cwd=home)
    assert r.returncode == 0, r.stderr
    d = pd.read_csv(tmp_path/'out'/'images.csv')
    foreign = d['image'].str.contains('foreign')
    assert (d['distance'] > 1)[foreign].all() and (d['distance'] > 1)[~foreign].mean() <= .25
    assert d['outside'].notna()[foreign].all()
    line = [o for o in r.stdout.splitlines() if 'outside what was trained on' in o]
    assert len(line) == 1 and 'photo0.png' in line[0] and 'photo4.png' not in line[0] and 'images.csv' in line[0]

def test_a_run_from_before_says_nothing_of_foreign_images(two_kinds, tmp_path):
    import shutil
    home, _ = two_kinds
    old = shutil.copytree(home/'run', home/'old')  # beside the images: a run knows them by relative paths
    (old/'images.csv').unlink()
    result = json.loads((old/'result.json').read_text())
    result.pop('parts')
    (old/'result.json').write_text(json.dumps(result))
    r = cytokit('segment', 'predict', 'old', 'foreign', '--out', tmp_path/'out', cwd=home)
    assert r.returncode == 0 and 'outside' not in r.stdout + r.stderr, r.stderr
    assert 'distance' not in pd.read_csv(tmp_path/'out'/'images.csv')
    assert cytokit('segment', 'evaluate', 'old', cwd=home).returncode == 0

def test_a_damaged_table_of_images_is_one_line(two_kinds, tmp_path):
    import shutil
    home, _ = two_kinds
    shutil.copytree(home/'run', tmp_path/'bad')
    for text in ('', 'image,split\na.png,train\n', '\0\1', 'size_long,colour_x\n1,a\n2,b\n'):
        (tmp_path/'bad'/'images.csv').write_text(text)
        r = cytokit('segment', 'predict', 'bad', home/'foreign', '--out', 'out', cwd=tmp_path)
        assert r.returncode == 2 and len(r.stderr.splitlines()) == 1 and 'images.csv' in r.stderr, r.stderr

def test_scores_by_kind_and_size(two_kinds):
    home, said = two_kinds
    r = cytokit('segment', 'evaluate', 'run', 'new', '--json', 'new.json', cwd=home)
    assert r.returncode == 0, r.stderr
    for text, result in ((said, json.loads((home/'train.json').read_text())),
                         (r.stdout, json.loads((home/'new.json').read_text()))):
        parts = pd.DataFrame(result['parts'])
        kinds, sizes = parts[parts['by'] == 'kind of image'], parts[parts['by'] == 'size of object']
        assert set(kinds['part']) == {'grey, bright background', 'grey, dark background'} and len(sizes) >= 2
        assert kinds['images'].sum() == result['images' if 'images' in result else 'n_valid']
        assert kinds['objects'].sum() == sizes['objects'].sum()                        # every true object has a size
        total = result['scores']['unet']['ap_50']['mean']
        # the kinds make up the whole
        assert abs((kinds['unet']*kinds['images']).sum()/kinds['images'].sum() - total) < 1e-9
        assert all(p in text for p in parts['part'])
        low, unet, high = (parts[k] for k in ('unet_low', 'unet', 'unet_high'))
        assert ((0 <= low) & (low <= unet) & (unet <= high) & (high <= 1)).all()
        for scores in result['scores'].values():
            for k, i in scores.items():
                assert 0 <= i['low'] <= i['mean'] <= i['high'] and (k.startswith('count') or i['high'] <= 1), (k, i)

def test_a_budget_is_for_all_of_it_and_a_repeat_needs_no_clock(two_kinds, tmp_path):
    home, _ = two_kinds
    r = cytokit('segment', 'train', 'set', '--out', tmp_path/'run', '--kind', 'instance', '--preset', 'tiny',
                '--seconds', 8, '--patch', 64, cwd=home)
    assert r.returncode == 0, r.stderr
    result = json.loads((tmp_path/'run'/'result.json').read_text())
    of, replay = result['seconds_of'], result['replay']
    assert set(of) == {'before', 'training', 'after', 'after_estimated'}
    assert abs(of['before'] + of['training'] + of['after'] - result['train_seconds']) < 1
    assert 4 <= replay['n_classical'] <= 40 and 8 <= replay['n_thresholds'] <= result['n_valid']
    assert result['estimate_seconds'] == 8 and (result['train_seconds'] <= 10.8 or 'The budget was 8 s' in r.stdout)
    steps = sum(replay['plan'][-1])
    assert (result['epochs'] - 1)*replay['epoch_steps'] < steps <= result['epochs']*replay['epoch_steps']
    again = cytokit('rerun', tmp_path/'run', '--out', tmp_path/'again', cwd=home)
    assert again.returncode == 0, again.stderr
    a, b = (load_file(tmp_path/k/'model.safetensors') for k in ('run', 'again'))
    assert all(a[k].equal(b[k]) for k in a)
    assert (tmp_path/'run'/'predictions.csv').read_bytes() == (tmp_path/'again'/'predictions.csv').read_bytes()

@pytest.fixture(scope='module')
def cell_pixels(cells):
    from cytokit.data.datasets import split_table
    from cytokit.data.preprocess import Preprocessing
    from cytokit.data.pairs import pairs
    from cytokit.segmentation.patches import load_pixels
    table = split_table(pairs(cells), valid=.25, seed=0)
    train, valid = (np.flatnonzero(table['split'] == k) for k in ('train', 'valid'))
    return load_pixels(table, Preprocessing(channels=1), 'instance', 'distance'), train, valid

def test_time_that_others_take_shortens_the_training(cell_pixels):
    from cytokit.training.budget import Clock
    from cytokit.segmentation.fit import SegmentSettings, fit_segmenter
    class Robbed(Clock):
        "Other programs take nearly all of the budget as soon as the training is on its way."
        def __init__(self, seconds): super().__init__(seconds); self.config = 0
        @property
        def spent(self):
            self.config += 1
            return time.perf_counter() - self.begun + (self.seconds*.95 if self.config > 12 else 0)
    s = SegmentSettings(preset='tiny', patch=64, seconds=40)
    _, robbed = fit_segmenter(*cell_pixels, s, clock=Robbed(40))
    assert sum(robbed['plan'][-1]) < .8*sum(robbed['plan'][0])          # planned anew, and shorter
    # what follows needs more than there is: the shortest training
    _, kept = fit_segmenter(*cell_pixels, s, clock=Clock(40), after=500)
    assert (kept['epoch_steps'], sum(kept['plan'][-1])) == (8, 8)
    _, same = fit_segmenter(*cell_pixels, s, clock=Clock(plan=robbed['plan']), epoch_steps=robbed['epoch_steps'])
    assert [h['train_loss'] for h in same['history']] == [h['train_loss'] for h in robbed['history']]
