"""The price of a leak on real images: `python benchmarks/price.py`.

Needs ../shared/data: slices of the brains of 26 children, several of whom were scanned two or three times. Each
child gets a class by lot, so there is nothing in the images to learn about it but which child it is: the honest
score is 0.5, whatever is trained. Writes benchmarks/results/price.json.
"""
from pathlib import Path
import pandas as pd
from cytokit.core import rng, write_json
from cytokit.data.preprocess import Preprocessing
from cytokit.evaluation.price import price, price_record
from cytokit.training.fit import Settings

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
if not SHARED.exists(): SHARED = Path('/work/shared/data')


def children():
    "Slices with a class that was drawn by lot for each child."
    folder = SHARED/'ptbp_t1_tissue'
    slices = pd.read_csv(folder/'slices.csv')
    table = pd.DataFrame(dict(image=[str(folder/'images'/name) for name in slices['file']],
                              group=slices['subject_group_inferred'].astype(str)))
    names = sorted(set(table['group']), key=str)
    order = rng(0, 'class by lot').permutation(len(names))
    lot = {name: ('heads', 'tails')[order[i] % 2] for i, name in enumerate(names)}
    table['target'] = table['group'].map(lot)
    return table


if __name__ == '__main__':
    got = price(children(), 'leak', Preprocessing(size=48), Settings(epochs=8, batch_size=16), seeds=3, valid=.4)
    print(got)
    write_json(HERE/'results'/'price.json', dict(leak=price_record(got)))
