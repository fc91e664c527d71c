"""The price of a leak on real images: `python benchmarks/price.py`.

Needs ../shared/data: slices of the brains of 26 children, several of whom were scanned two or three times. Each child gets a class by lot, so there
is nothing in the images to learn about it but which child it is: the honest score is 0.5, whatever is trained. Writes benchmarks/results/price.json.
"""
from pathlib import Path
import numpy as np
from cytokit.core import rng, write_json
from cytokit.data.datasets import read_table
from cytokit.data.preprocess import Preprocessing
from cytokit.evaluation.price import price, price_record
from cytokit.training.fit import Settings

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
if not SHARED.exists(): SHARED = Path('/work/shared/data')


def children():
    "Slices with a class that was drawn by lot for each child."
    file = SHARED/'ptbp_t1_tissue'/'slices.csv'
    table = read_table(file, image='file', target='scan', group='subject_group_inferred', task='class')
    names = sorted(set(table['group']), key=str)
    order = rng(0, 'class by lot').permutation(len(names))
    lot = {name: ('heads', 'tails')[order[i] % 2] for i, name in enumerate(names)}
    table['target'] = table['group'].map(lot)
    table.attrs['task'] = 'class'
    return table


if __name__ == '__main__':
    got = price(children(), 'leak', Preprocessing(size=48), Settings(epochs=8, batch_size=16), seeds=3, valid=.4)
    print(got)
    write_json(HERE/'results'/'price.json', dict(leak=price_record(got)))
