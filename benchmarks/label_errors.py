"""Injected label errors on three real sets, found and removed: `python benchmarks/label_errors.py`.

Needs ../shared/data. Wrong labels are injected at random into 2, 5 and 10 % of the training part, with three seeds. Suspects come from
`cytokit.evaluation.label_errors` with its own limit, which was chosen on synthetic sets. The score is the balanced accuracy of a logistic head on
features of the frozen backbone, on a held-out part (whole groups) whose labels are left alone. Writes benchmarks/results/label_errors.json.
"""
import time
from dataclasses import asdict
from pathlib import Path
import numpy as np, pandas as pd
from cytokit.core import cache_dir, parallel_map, rng, write_json
from cytokit.data.datasets import group_keys, read_table, split_table
from cytokit.data.formats import read_image
from cytokit.data.preprocess import Preprocessing
from cytokit.evaluation.label_errors import backbone_features, expected_errors, fold_probabilities, rank_labels
from cytokit.metrics.classification import bootstrap, paired_difference
from cytokit.training.fit import Settings, prepare
from cytokit.training.loaders import load_arrays

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
if not SHARED.exists(): SHARED = Path('/work/shared/data')
RATES, SEEDS = (.02, .05, .1), 3


def mri():
    table = read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient')
    return table, Preprocessing(size=96)


def blood():
    "Cells cut out of blood smears by their boxes, 300 a class; the group is the smear."
    from skimage.io import imsave
    boxes = pd.read_csv(SHARED/'bccd'/'boxes.csv')
    boxes = boxes[(boxes.xmax - boxes.xmin > 15) & (boxes.ymax - boxes.ymin > 15)].reset_index(drop=True)
    chosen = np.concatenate([rng(0, 'blood', k).permutation(i)[:300] for k, i in boxes.groupby('cell_type').indices.items()])
    folder = cache_dir('samples')/'bccd_crops'
    folder.mkdir(parents=True, exist_ok=True)
    def crop(i):
        row, path = boxes.iloc[i], folder/f'{i:05d}.png'
        if not path.exists():
            a = read_image(SHARED/'bccd'/'images'/row.image).array[row.ymin:row.ymax, row.xmin:row.xmax]
            imsave(path, a, check_contrast=False)
        return dict(image=str(path), target=row.cell_type, group=row.image)
    rows = pd.DataFrame(parallel_map(crop, np.sort(chosen), 'crops'))
    rows.to_csv(folder/'crops.csv', index=False)
    return read_table(folder/'crops.csv'), Preprocessing(norm='dtype', size=64)


def photos():
    table = read_table(SHARED/'clothing10'/'labels.csv', image='file', target='label', split=None)
    return table.drop(columns='split', errors='ignore'), Preprocessing(norm='dtype', size=96)


def with_errors(y, n_classes, rate, seed):
    "Class numbers, a share of them wrong."
    r = rng(seed, 'label errors', rate)
    rows = r.permutation(len(y))[:round(rate*len(y))]
    new = y.copy()
    new[rows] = (y[rows] + r.integers(1, n_classes, len(rows))) % n_classes
    return new


def head_scores(f, y, test, n_classes):
    "Scores of a logistic head, (M, K)."
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    head = make_pipeline(StandardScaler(), LogisticRegression(C=.01, class_weight='balanced', max_iter=300)).fit(f, y)
    p = np.zeros((len(test), n_classes))
    p[:, head.classes_] = head.predict_proba(test)
    return p


def one_rate(f, y, unit, train, valid, names, rate):
    "Precision, recall, expected number, and the scores with wrong labels, without the suspects, and with true labels."
    k, found, before, after, clean, expected = len(names), [], [], [], [], []
    for seed in range(SEEDS):
        given = with_errors(y[train], k, rate, seed)
        p = fold_probabilities(f[train], given, unit[train])
        ranked = rank_labels(np.arange(len(train)), given, p, names)
        suspect = ranked[ranked.suspect].image.astype(int).to_numpy()
        wrong = given != y[train]
        found.append((int(wrong[suspect].sum()), len(suspect), int(wrong.sum())))
        expected.append(asdict(expected_errors(given, p)))
        kept = np.setdiff1d(np.arange(len(train)), suspect)
        before.append(head_scores(f[train], given, f[valid], k))
        after.append(head_scores(f[train][kept], given[kept], f[valid], k))
        clean.append(head_scores(f[train], y[train], f[valid], k))
    hits, suspects, errors = np.sum(found, 0)
    groups = unit[valid]
    scores = {name: asdict(bootstrap(y[valid], np.stack(s), groups)) for name, s in dict(before=before, after=after, clean=clean).items()}
    gain = asdict(paired_difference(y[valid], np.stack(after), np.stack(before), groups))
    return dict(rate=rate, errors=int(errors), suspects=int(suspects), hits=int(hits), precision=hits/max(suspects, 1),
                recall=hits/errors, by_seed=found, expected=expected, **scores, gain=gain)


def one_set(name, make):
    started = time.perf_counter()
    table, preprocessing = make()
    table, names, preprocessing = prepare(table, preprocessing, .3, 0)
    y = table['target'].astype(str).map(names.index).to_numpy()
    unit = group_keys(table).to_numpy().astype(str)
    f = backbone_features(load_arrays(table, preprocessing), Settings(method='frozen'))
    train, valid = (np.flatnonzero(table['split'] == part) for part in ('train', 'valid'))
    plain = fold_probabilities(f[train], y[train], unit[train])
    own = rank_labels(np.arange(len(train)), y[train], plain, names)
    rows = [one_rate(f, y, unit, train, valid, names, rate) for rate in RATES]
    for row in rows:
        print(f'{name} {row["rate"]:.0%}: precision {row["precision"]:.2f}, recall {row["recall"]:.2f}, {row["before"]["mean"]:.3f} → '
              f'{row["after"]["mean"]:.3f}, gain {row["gain"]["mean"]:+.3f} ({row["gain"]["low"]:+.3f} to {row["gain"]["high"]:+.3f})', flush=True)
    return dict(name=name, n_train=len(train), n_valid=len(valid), n_groups=len(set(unit)), classes=names, side=preprocessing.size,
                accuracy=float((plain.argmax(1) == y[train]).mean()), suspects_as_published=int(own.suspect.sum()),
                expected_as_published=asdict(expected_errors(y[train], plain)), rates=rows, seconds=time.perf_counter() - started)


if __name__ == '__main__':
    write_json(HERE/'results'/'label_errors.json', [one_set(name, make) for name, make in dict(mri=mri, blood=blood, photos=photos).items()])
