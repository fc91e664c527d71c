"Splits of real sets, and odd tables."
from pathlib import Path
import numpy as np, pandas as pd, pytest
from cytokit.core import InputError
from cytokit.quality.findings import COLUMNS
from cytokit.quality.duplicates import duplicates
from cytokit.quality.images import measure_all
from cytokit.quality.splits import slice_neighbours, split_findings

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f'{SHARED} is not here')

def found(t):
    rows = measure_all(t.image)
    f = split_findings(t, rows, duplicates(rows))
    assert list(f) == COLUMNS and f['check'].str.startswith('split_').all() and f.message.map(str.isprintable).all()
    return f

@pytest.fixture(scope='module')
def children():
    d = SHARED/'ptbp_t1_tissue'; s = pd.read_csv(d/'slices.csv')
    return pd.DataFrame(dict(image=[str(d/'images'/f) for f in s.file], target=[str(d/'labels'/f) for f in s.file],
                             group=s.subject_group_inferred.map(str), scan=s.scan))

@shared
def test_a_random_split_of_slices_leaks_and_one_by_subject_does_not(children):
    r = np.random.default_rng(0)
    part = lambda b: np.where(b, 'train', 'valid').astype(object)
    f = found(children.drop(columns='scan').assign(split=part(r.random(len(children)) < .75)))
    assert (f['check'] == 'split_group').sum() > 20 and (f['check'] == 'split_duplicate').sum() > 20
    f = found(children[['image', 'target']].assign(split=part(r.random(len(children)) < .75)))
    # found by names and pixels, without groups
    assert (f['check'] == 'split_neighbours').sum() > 20
    groups = children.group.unique(); own = dict(zip(groups, r.random(len(groups)) < .75))
    f = found(children.drop(columns='scan').assign(split=part(children.group.map(own))))
    assert not {'split_group', 'split_neighbours'} & set(f['check'])

@shared
def test_repeat_scans_in_two_parts_are_seen_without_the_groups(children):
    split = np.where(children.scan % 2 == 0, 'train', 'valid').astype(object)
    f = found(children[['image', 'target']].assign(split=split))
    d = f[f['check'] == 'split_duplicate']
    group = dict(zip(children.image, children.group))
    same = [group[a] == group[b] for a, b in zip(d.file, d.other)]
    # the guess of who is who, made from elsewhere, agrees
    assert len(d) >= 10 and np.mean(same) > .9

@shared
def test_the_masks_of_a549_are_emptier_in_validation():
    d = SHARED/'cytounet_examples'/'a549_phase'
    rows = [(str(p), str(p.parent.parent/'masks'/p.name), s) for s, n in (('train', 'train'), ('valid', 'validation'))
            for p in sorted((d/n/'images').iterdir())]
    t = pd.DataFrame(rows, columns=['image', 'target', 'split'])
    f = found(t).set_index('group')
    assert {'foreground', 'mean'} <= set(f.index[f['check'] == 'split_drift']) and f['value']['foreground'] == 1
    assert 'split_separable' in set(f['check'])

@shared
def test_photographs_have_other_shares_in_validation():
    d = SHARED/'clothing10'; s = pd.read_csv(d/'labels.csv')
    f = found(pd.DataFrame(dict(image=[str(d/p) for p in s.file], target=s.label,
                                split=s.split.replace('validation', 'valid'))))
    assert 't-shirt' in set(f.group[f['check'] == 'split_class_share'])
    assert not (f.severity == 'error').any()

@shared
@pytest.mark.parametrize('folder, series',
                         [('isbi_membrane/train/image', True), ('cytounet_examples/bbbc030_cho/images', False),
                          ('wbc_segmentation/dataset1/images', False)])
def test_only_slices_are_neighbours(folder, series):
    t = pd.DataFrame(dict(image=[str(p) for p in sorted((SHARED/folder).iterdir())]))
    assert (len(slice_neighbours(t, measure_all(t.image))) > 20) == series

def test_odd_tables():
    t = pd.DataFrame(dict(image=[f'/x/{i}.png' for i in range(6)], target=['a', 'b']*3,
                          split=['train']*3 + ['valid']*3, group=[np.nan, 'p', 'q', 'p', np.nan, 'r']))
    rows = pd.DataFrame(dict(file=t.image, error='broken'))                       # nothing could be read
    f = split_findings(t, rows, None)
    assert list(f.group[f['check'] == 'split_group']) == ['p']
    assert not len(split_findings(t.iloc[:0], rows.iloc[:0]))
    rows = rows.assign(mean=[np.nan, np.inf, 1, 2, 3, 4], dct=None)
    split_findings(t.assign(image='/x/0.png'), rows)                              # one path six times
    split_findings(t.drop(columns=['split', 'group']), rows,
                   pd.DataFrame(columns=['file', 'other', 'kind', 'distance']))
    split_findings(t.assign(target=[1., 2, 3, 4, 5, 6.5]), rows)                  # numbers
    for bad, words in ((t.drop(columns='image'), "'image'"), (t.assign(split='TRAIN'), "'TRAIN'")):
        with pytest.raises(InputError, match=words): split_findings(bad, rows)

def test_a_group_in_both_parts_names_its_files(tmp_path):
    from PIL import Image
    r, files = np.random.default_rng(0), [tmp_path/folder/f'{k}.png' for folder in 'ab' for k in range(4)]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(r.integers(0, 255, (24, 24), 'u1')).save(file)
    t = pd.DataFrame(dict(image=list(map(str, files)), target=list('xxxxyyyy'), group=list('pqrspprs')))
    f = found(t.assign(split=['valid'] + ['train']*7))
    assert "group 'p' is in train (2) and valid (1: a/0.png)" in ' '.join(f.message)
