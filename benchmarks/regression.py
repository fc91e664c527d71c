"""Numbers from images: `python benchmarks/regression.py [NAME ...]`.

Which method wins, by how much, on targets whose truth is known? `counts` and `sizes` are synthetic cells;
`nuclei_counts` and `nuclei_sizes` are the grey images of 256 by 256 pixels of the training part of
../shared/data/nuclei, their numbers from the masks; all four if none is named. Each comparison runs through the
same function as `cytokit compare`, with three seeds, leaves its run folder in --runs, and writes its figures to
benchmarks/results/regression_NAME.json; about three minutes of one core each. One that was cut short goes on.
"""
import argparse
from pathlib import Path
import numpy as np, pandas as pd
from cytokit.core import write_json
from cytokit.data.datasets import read_table
from cytokit.data.formats import read_image
from cytokit.data.preprocess import Preprocessing
from cytokit.data.synthetic import write_sample
from cytokit.evaluation.compare import compare
from cytokit.training.runs import resume

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
METHODS = ('mean', 'ridge', 'ridge-cnn', 'boosting-cnn', 'small', 'small-bins', 'frozen')

def synthetic(target, runs):
    "200 images of cells, 10 a plate; the number of each is measured in its labels."
    return write_sample('cells', runs/f'{target}_images', n=200, seed=3, target=target, size=64, per_plate=10)

def nuclei(target, runs):
    "A table of the grey training images, with a number of each from its labels."
    home = SHARED/'nuclei'
    d = pd.read_csv(home/'images.csv')
    d = d[(d['split'] == 'train') & d['gray'] & (d['height'] == 256) & (d['width'] == 256)]
    rows = []
    for name in d['id']:
        image, labels = next((home/'images').glob(f'{name}.*')), next((home/'labels').glob(f'{name}.*'))
        areas = np.bincount(read_image(labels).array.ravel())[1:]
        areas = areas[areas > 0]
        rows.append(dict(image=str(image), target=len(areas) if target == 'count' else areas.mean()))
    path = runs/f'nuclei_{target}.csv'
    pd.DataFrame(rows).to_csv(path, index=False)
    return read_table(path, task='number')

SETS = dict(counts=('count', synthetic), sizes=('size', synthetic), nuclei_counts=('count', nuclei),
            nuclei_sizes=('size', nuclei))

def run(name, runs, methods, seeds, epochs, augment):
    folder = runs/(name if augment == 'flips' else f'{name}_{augment}')
    if (folder/'run.json').exists(): return resume(folder)
    target, make = SETS[name]
    seen = Preprocessing(size=64)
    return compare(make(target, runs), methods, folder, seen, seeds, epochs=epochs, batch_size=16, augment=augment)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', default=list(SETS))
    p.add_argument('--runs', type=Path, default=Path('runs')/'regression')
    p.add_argument('--methods', default=','.join(METHODS))
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--epochs', type=int, default=8)
    p.add_argument('--augment', default='flips', help='of light, numbers take mirrors, contrast and brightness')
    a = p.parse_args()
    a.runs.mkdir(parents=True, exist_ok=True)
    for name in a.names:
        result = run(name, a.runs, a.methods.split(','), a.seeds, a.epochs, a.augment)
        print(name, result.table.to_string(index=False), result.conclusion, sep='\n', flush=True)
        end = '' if a.augment == 'flips' else f'_{a.augment}'
        figures = {k: v for k, v in result.result.items() if k != 'curve'}
        write_json(HERE/'results'/f'regression_{name}{end}.json', figures | dict(settings=result.config['settings']))
