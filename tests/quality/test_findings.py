"""Findings that are true, said as a user meets them: `cytokit check`, `train` and `compare` as processes."""
import json, os, shutil, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent/'shared'/'data'
needs = lambda name: pytest.mark.skipif(not (DATA/name).exists(), reason=f'{DATA/name} is not there')

def cytokit(folder, *args):
    env = os.environ | dict(CYTOKIT_CACHE=str(folder/'cache'))
    start = 'from cytokit.cli import entry; entry()'
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', start, '--quiet', *args], cwd=folder, env=env,
                          capture_output=True, text=True)

def found(folder, *args):
    done = cytokit(folder, 'check', *args, '--json', 'found.json')
    assert done.returncode == 0, done.stderr
    return pd.DataFrame(json.loads((folder/'found.json').read_text())['findings']), done

def save(a, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(a).save(path)

def cell(seed, side=50):
    "A smooth cell on black, as segmented blood cells are: all have one outline and nothing else in common."
    r = np.random.default_rng(seed)
    inside = ndimage.gaussian_filter(r.normal(0, 1, (side, side)), 5)
    y, x = np.mgrid[:side, :side] - (side - 1)/2
    disc = np.hypot(y*r.uniform(1, 1.1), x*r.uniform(1, 1.1)) < .47*side
    return ((180 + 150*inside)*disc).clip(0, 255).astype('u1')

def texture(seed, side=96):
    r = np.random.default_rng(seed)
    a = ndimage.gaussian_filter(r.normal(0, 1, (side, side)), 2)
    return (128 + 50*a/a.std() + r.normal(0, 2, a.shape)).clip(0, 255).astype('u1')

def test_different_smooth_cells_are_no_duplicates(tmp_path):
    for i in range(80): save(cell(i), tmp_path/'set'/f'{i:02d}.png')
    Image.fromarray(np.rot90(cell(3)).copy()).save(tmp_path/'set'/'turned.png')
    d, _ = found(tmp_path, 'set')
    d = d[d['check'].str.endswith('_duplicate')]
    assert [{Path(r.file).name, Path(r.other).name} for r in d.itertuples()] == [{'03.png', 'turned.png'}]
    assert set(d['certainty']) == {'sure'}

def test_medians_are_numbers_that_were_measured(tmp_path):
    for i in range(40):
        save(texture(i, 40 + i % 12), tmp_path/'set'/f'{i}.png')  # too small for four octaves, some of them
    blurred = ndimage.gaussian_filter(texture(99, 44).astype('f4'), 3)
    save(blurred.astype('u1'), tmp_path/'set'/'soft.png')
    d, _ = found(tmp_path, 'set')
    d = d[d['check'] == 'blurred']
    assert [Path(f).name for f in d['file']] == ['soft.png'] and (d['median'].abs() < 10).all()

def grain(seed, side=96):
    "Fine texture of little contrast."
    r = np.random.default_rng(seed)
    a = ndimage.gaussian_filter(r.normal(0, 1, (side, side)), 1.2)
    return 110 + 12*a/a.std() + r.normal(0, 2, a.shape)

def test_stripes_and_black_corners_are_not_blurred(tmp_path):
    eight_bits = lambda a: a.clip(0, 255).astype('u1')
    for i in range(30): save(eight_bits(grain(i)), tmp_path/'set'/f'{i}.png')
    half_striped = 80*(np.arange(96) % 2)*(np.arange(96) < 48)
    save(eight_bits(grain(50) + half_striped), tmp_path/'set'/'stripes.png')
    y, x = np.mgrid[:96, :96] - 47.5
    disc = (np.hypot(y, x) < 46).astype('f4')
    save(eight_bits(grain(51)*disc), tmp_path/'set'/'corners.png')
    save(eight_bits(grain(52)*ndimage.gaussian_filter(disc, 1.5)), tmp_path/'set'/'soft_corners.png')
    save(eight_bits(ndimage.gaussian_filter(grain(53), 2)*disc), tmp_path/'set'/'truly.png')
    d, _ = found(tmp_path, 'set')
    assert {Path(f).name for f in d['file'][d['check'] == 'blurred']} == {'truly.png'}

def test_texture_is_not_noise_and_noise_is(tmp_path):
    r = np.random.default_rng(0)
    blobs = lambda i: ndimage.gaussian_filter(np.random.default_rng(i).normal(0, 1, (96, 96)), 6)
    smooth = lambda i: (128 + 25*blobs(i)*12 + r.normal(0, 2, (96, 96))).clip(0, 255).astype('u1')
    for i in range(30): save(smooth(i), tmp_path/'set'/f'{i}.png')
    weave = ndimage.gaussian_filter(r.normal(0, 1, (96, 96)), 1)
    save((128 + 40*weave/weave.std()).clip(0, 255).astype('u1'), tmp_path/'set'/'weave.png')
    save((smooth(60) + r.normal(0, 25, (96, 96))).clip(0, 255).astype('u1'), tmp_path/'set'/'grain.png')
    d, _ = found(tmp_path, 'set')
    assert {Path(f).name for f in d['file'][d['check'] == 'noisy']} == {'grain.png'}

def test_copies_across_parts_and_classes_are_said_first(tmp_path):
    for part, n in (('train', 12), ('test', 6)):
        for i in range(n): save(texture(100*(part == 'test') + i), tmp_path/'set'/part/'ab'[i % 2]/f'{part}{i}.png')
    shutil.copy(tmp_path/'set'/'train'/'a'/'train0.png', tmp_path/'set'/'test'/'a'/'again.png')
    shutil.copy(tmp_path/'set'/'train'/'a'/'train2.png', tmp_path/'set'/'train'/'b'/'other.png')
    save(np.zeros((96, 96), 'u1'), tmp_path/'set'/'train'/'a'/'black.png')  # another error, told later
    d, done = found(tmp_path, 'set')
    assert list(d['check'][:3]) == ['label_conflict', 'label_conflict', 'split_duplicate']
    assert set(d['severity'][:3]) == {'error'}
    assert d['message'][0].startswith("the same image has two labels: ")
    assert d['message'][2].startswith('the same image is in train and in test: the score is not honest')
    assert done.stdout.splitlines()[2].split()[1] in ('label_conflict', 'split_duplicate')

def test_a_forgotten_patient_is_asked_about(tmp_path):
    for i in range(36): save(texture(i, 32), tmp_path/'set'/'ab'[i//3 % 2]/f'patient{i//3:02d}_slice{i % 3}.png')
    d, _ = found(tmp_path, 'set')
    said = d['message'][d['check'] == 'group_forgotten']
    assert len(said) == 1 and "--group 'patient\\d+'" in said.iloc[0] and '12 groups' in said.iloc[0]
    short = ['train', 'set', '--size', '16', '--epochs', '1', '--lr', '.001']
    done = cytokit(tmp_path, *short, '--out', 'run')
    assert done.returncode == 0 and "pass --group 'patient\\d+'" in done.stderr
    assert done.stderr.count('file names look like') == 1
    done = cytokit(tmp_path, *short, '--group', r'patient\d+', '--out', 'grouped')
    assert done.returncode == 0 and 'file names' not in done.stderr
    split = pd.read_csv(tmp_path/'grouped'/'split.csv')
    assert split.groupby('group').split.nunique().max() == 1
    d, _ = found(tmp_path, 'set', '--group', r'patient\d+')
    assert 'group_forgotten' not in set(d['check'] if len(d) else ())

def test_numbers_that_begin_anew_in_each_class_are_no_groups(tmp_path):
    for i in range(12): save(texture(i, 32), tmp_path/'set'/'ab'[i % 2]/f'{i//2}.png')
    d, _ = found(tmp_path, 'set')
    assert 'group_forgotten' not in set(d['check'] if len(d) else ())

@needs('bccd')
@pytest.mark.parametrize('name', ['bccd_cells', 'malaria_like'])
def test_few_good_crops_are_accused(name, tmp_path):
    run = [sys.executable, str(ROOT/'benchmarks'/'false_alarms.py'), '--sets', name, '--out', str(tmp_path/'out.json')]
    assert subprocess.run(run, capture_output=True).returncode == 0
    assert json.loads((tmp_path/'out.json').read_text())['sets'][0]['share'] < .02
