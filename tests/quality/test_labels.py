"Labels of real sets, and odd input."
from pathlib import Path
import numpy as np, pandas as pd, pytest
from cytokit.core import InputError
from cytokit.quality.labels import annotator_agreement, label_findings, quick_features, quick_probabilities
from cytokit.quality.images import measure_all

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f'{SHARED} is not here')

def table(folder, file, csv, target, **columns):
    s = pd.read_csv(SHARED/folder/csv)
    return pd.DataFrame(dict(image=[str(SHARED/folder/f) for f in s[file]], target=s[target],
                             **{k: s[c] for k, c in columns.items()}))

SETS = dict(wbc=('wbc_segmentation', 'file', 'labels.csv', 'class'),
            contrast=('open_ms_contrast', 'file', 'slices.csv', 'contrast'),
            clothing=('clothing10', 'file', 'labels.csv', 'label'))

def found(t):
    rows = measure_all(t.image)
    p, names = quick_probabilities(t, rows)
    return label_findings(t, p, names, quick_features(rows))

@shared
@pytest.mark.parametrize('name', SETS)
def test_clean_sets_are_left_alone(name):
    t = table(*SETS[name], **({'group': 'patient'} if name == 'contrast' else {}))
    f = found(t)
    assert not (f.severity == 'error').any()
    assert (f['check'] == 'label_wrong').sum() <= .02*len(t) and (f['check'] == 'label_outlier').sum() <= .02*len(t)

@shared
def test_moved_labels_of_mri_are_found():
    t = table(*SETS['contrast'], group='patient')
    bad = np.random.default_rng(0).choice(len(t), 11, False)
    nxt = {'FLAIR': 'T1W', 'T1W': 'T2W', 'T2W': 'FLAIR'}
    f = found(t.assign(target=[nxt[c] if i in bad else c for i, c in enumerate(t.target)]))
    f = f[f['check'] == 'label_wrong']; hit = f.file.isin(t.image.iloc[bad])
    assert hit.sum() >= 6 and hit.mean() >= .8
    true = dict(zip(t.image, t.target)); assert all(true[a] == g for a, g in zip(f.file[hit], f.group[hit]))

def test_odd_input():
    t = pd.DataFrame(dict(image=['a', 'b', 'c'], target=['x', 'y', 'y']))
    p = np.array([[.9, .1], [.2, .8], [np.nan, np.nan]])
    assert not (label_findings(t, p, ['x', 'y'])['check'] == 'label_wrong').any()
    for bad in (p[:, :1], p[:2], np.where(np.isnan(p), 2., p), p - 1):
        with pytest.raises(InputError, match='probabilities'): label_findings(t, bad, ['x', 'y'])
    with pytest.raises(InputError, match='features'): label_findings(t, p, ['x', 'y'], np.zeros((2, 4)))
    rows = pd.DataFrame(dict(file=t.image, error='broken', dct=None))
    q, names = quick_probabilities(t, rows)
    assert q.shape == (3, 2) and np.isnan(q).all() and names == ['x', 'y']           # each class needs two images
    one = pd.DataFrame(dict(a=['x', 'x'], b=['x', None]))
    g = annotator_agreement(one); assert np.isnan(g['alpha']) and not len(g['findings'])
    assert np.isnan(annotator_agreement(one.iloc[:0])['alpha'])
