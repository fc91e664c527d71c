"""Injected label errors on three real sets, found and removed: `python benchmarks/label_errors.py [mri] [blood]
[photos]`.

Needs ../shared/data. Wrong labels are injected at random into 2, 5 and 10 % of the images, with three seeds.
Suspects come from `cytokit.evaluation.label_errors` with its own limit, which was chosen on synthetic sets. The
score is the balanced accuracy against the true labels of a logistic head on features of the frozen backbone, cross-
validated by group: in each fold the suspects are found and removed among the training images alone. Writes
benchmarks/results/label_errors.json.
"""
import sys, time
from dataclasses import asdict
from pathlib import Path
import numpy as np, pandas as pd
from cytokit.core import cache_dir, parallel_map, read_json, rng, write_json
from cytokit.data.datasets import classes, fold_table, group_keys, read_table
from cytokit.data.formats import read_image
from cytokit.data.preprocess import Preprocessing, fit_preprocessing
from cytokit.evaluation.label_errors import backbone_features, expected_errors, fold_probabilities, rank_labels
from cytokit.metrics.classification import bootstrap, paired_difference
from cytokit.training.fit import Settings
from cytokit.training.loaders import load_arrays

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
if not SHARED.exists(): SHARED = Path('/work/shared/data')
RATES, SEEDS, FOLDS = (.02, .05, .1), 3, 5


def mri():
    table = read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient')
    return table, Preprocessing(size=96)


def blood():
    "Cells cut out of blood smears by their boxes, 300 a class; the group is the smear."
    from skimage.io import imsave
    boxes = pd.read_csv(SHARED/'bccd'/'boxes.csv')
    boxes = boxes[(boxes.xmax - boxes.xmin > 15) & (boxes.ymax - boxes.ymin > 15)].reset_index(drop=True)
    of_type = boxes.groupby('cell_type').indices.items()
    chosen = np.concatenate([rng(0, 'blood', k).permutation(i)[:300] for k, i in of_type])
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
    table = read_table(SHARED/'clothing10'/'labels.csv', image='file', target='label')
    return table.drop(columns='split'), Preprocessing(norm='dtype', size=96)


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
    head = make_pipeline(StandardScaler(), LogisticRegression(C=.01, class_weight='balanced', max_iter=100)).fit(f, y)
    p = np.zeros((len(test), n_classes))
    p[:, head.classes_] = head.predict_proba(test)
    return p


def suspects_of(f, given, unit, names):
    "Rows whose label is suspect, and the probabilities."
    p = fold_probabilities(f, given, unit)
    ranked = rank_labels(np.arange(len(f)), given, p, names)
    return ranked[ranked.suspect].image.astype(int).to_numpy(), p


def held_out_scores(f, given, unit, folds, names, remove):
    "Scores (N, K) of every image by a head that was fitted to the other folds, with or without the suspects in them."
    scored = np.zeros((len(f), len(names)))
    for train, valid in folds:
        kept = train
        if remove: kept = np.delete(train, suspects_of(f[train], given[train], unit[train], names)[0])
        scored[valid] = head_scores(f[kept], given[kept], f[valid], len(names))
    return scored


def one_rate(f, y, unit, folds, names, rate, clean):
    "Precision, recall, expected number, and the scores with wrong labels and without the suspects."
    found, before, after, expected = [], [], [], []
    for seed in range(SEEDS):
        given = with_errors(y, len(names), rate, seed)
        suspect, p = suspects_of(f, given, unit, names)
        wrong = given != y
        found.append((int(wrong[suspect].sum()), len(suspect), int(wrong.sum())))
        expected.append(asdict(expected_errors(given, p)))
        before.append(held_out_scores(f, given, unit, folds, names, False))
        after.append(held_out_scores(f, given, unit, folds, names, True))
    hits, suspects, errors = (int(n) for n in np.sum(found, 0))
    before, after = np.stack(before), np.stack(after)
    intervals = dict(before=bootstrap(y, before, unit), after=bootstrap(y, after, unit),
                     gain=paired_difference(y, after, before, unit),
                     lost=paired_difference(y, before, np.stack([clean]*SEEDS), unit))
    return dict(rate=rate, errors=errors, suspects=suspects, hits=hits, precision=hits/max(suspects, 1),
                recall=hits/errors,
                by_seed=found, expected=expected, **{name: asdict(o) for name, o in intervals.items()})


def one_set(name, make):
    started = time.perf_counter()
    table, preprocessing = make()
    names = classes(table)
    preprocessing = fit_preprocessing(list(table['image']), preprocessing)
    y = table['target'].astype(str).map(names.index).to_numpy()
    unit = group_keys(table).to_numpy().astype(str)
    f = backbone_features(load_arrays(table, preprocessing), Settings(method='frozen'))
    k = min(FOLDS, *(len(set(unit[y == c])) for c in range(len(names))))
    folds = [tuple(np.flatnonzero(t['split'] == part) for part in ('train', 'valid')) for t in fold_table(table, k)]
    own, plain = suspects_of(f, y, unit, names)
    clean = held_out_scores(f, y, unit, folds, names, False)
    rows = [one_rate(f, y, unit, folds, names, rate, clean) for rate in RATES]
    for row in rows:
        gain = row['gain']
        print(f'{name} {row["rate"]:.0%}: precision {row["precision"]:.2f}, recall {row["recall"]:.2f}, '
              f'{row["before"]["mean"]:.3f} → {row["after"]["mean"]:.3f}, '
              f'gain {gain["mean"]:+.3f} ({gain["low"]:+.3f} to {gain["high"]:+.3f})', flush=True)
    return dict(name=name, n_images=len(table), n_groups=len(set(unit)), classes=names, side=preprocessing.size,
                folds=k,
                accuracy=float((plain.argmax(1) == y).mean()),
                suspects_as_published=[Path(table['image'][i]).name for i in own],
                expected_as_published=asdict(expected_errors(y, plain)),
                clean=asdict(bootstrap(y, clean[None], unit)), rates=rows,
                seconds=time.perf_counter() - started)


if __name__ == '__main__':
    path, makers = HERE/'results'/'label_errors.json', dict(mri=mri, blood=blood, photos=photos)
    chosen = sys.argv[1:] or list(makers)
    done = read_json(path) if path.exists() and sys.argv[1:] else {}
    for name in chosen:
        done[name] = one_set(name, makers[name])
        write_json(path, done)
