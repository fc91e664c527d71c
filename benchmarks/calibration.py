"""Is the comparison calibrated? `python benchmarks/calibration.py [--repeats 20]`

The same method enters twice with other seeds, so the true difference is 0. Each repeat takes another split of the white blood cells
(../shared/data; synthetic cells without it), trains `small` with 3 + 3 seeds, and asks whether the 95 % interval of the difference contains 0.
Writes benchmarks/results/calibration.json.
"""
import argparse
from pathlib import Path
import numpy as np
from cytokit.metrics import classification as metrics
from cytokit.core import progress, write_json
from cytokit.data.datasets import classes, read_table, split_table
from cytokit.data.preprocess import Preprocessing
from cytokit.training.loaders import load_arrays
from cytokit.training.fit import Settings, fit
from cytokit.training.targets import scores

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeats', type=int, default=20)
    p.add_argument('--epochs', type=int, default=6)
    a = p.parse_args()
    table = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    table = table[table['target'] != 'basophil'].reset_index(drop=True)
    names = classes(table)
    x, y = load_arrays(table, Preprocessing(size=32, channels=3, norm='dtype')), table['target'].map(names.index).to_numpy()
    rows = []
    for r in progress(range(a.repeats), 'Repeats'):
        split = split_table(table.drop(columns='split', errors='ignore'), valid=.3, seed=r)['split'].to_numpy()
        train, valid = np.flatnonzero(split == 'train'), np.flatnonzero(split == 'valid')
        lr, got = None, []
        for i in range(6):
            model, info = fit(x, y, train, valid, Settings(epochs=a.epochs, seed=100*r + i, lr=lr), len(names))
            lr = info['lr']
            got.append(scores(model, x[valid]))
        d = metrics.paired_difference(y[valid], np.stack(got[:3]), np.stack(got[3:]), None, 'balanced_accuracy')
        rows.append(dict(repeat=r, mean=d.mean, low=d.low, high=d.high, contains_zero=d.low <= 0 <= d.high))
        print(f'{r:3d}  {d.mean:+.3f}  ({d.low:+.3f} to {d.high:+.3f})  {"contains 0" if rows[-1]["contains_zero"] else "MISSES 0"}', flush=True)
    n = sum(o['contains_zero'] for o in rows)
    print(f'{n} of {len(rows)} intervals contain 0; median width {np.median([o["high"] - o["low"] for o in rows]):.3f}')
    write_json(HERE/'results'/'calibration.json', dict(contains_zero=n, repeats=len(rows), rows=rows))
