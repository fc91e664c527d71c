"""The contest on real images: `python benchmarks/contest.py [mri] [blood] [photos] [lowbits]` (all of them if none is named).

Needs ../shared/data (real sets and ImageNet weights; `lowbits` makes its own images). Each contest runs through the same function as `cytokit compare`,
leaves its run folder in --runs, and writes its figures to benchmarks/results/contest_NAME.{json,png}. A contest that was cut short goes on.
"""
import argparse, sys
from pathlib import Path
import matplotlib
matplotlib.use('Agg')
from cytokit.compare import compare
from cytokit.core import write_json
from cytokit.datasets import read_table
from cytokit.images import Recipe
from cytokit.samples import write_sample
from cytokit.training import resume

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
WEIGHTS = dict(weights=str(SHARED/'weights'/'mobilenet_v2_100_in1k_qat.safetensors'), arch='mobilenetv2_100', mean=.5, std=.5, padding='same')

def mri(runs):
    table = read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient')
    return dict(source=table, arms=[*ARMS, 'frozen-rgb8'], folds=3, epochs=8, fractions=(.3, 1))

def blood(runs):
    table = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    keep = table[table['target'] != 'basophil'].reset_index(drop=True)  # one image: nothing can be learned or measured
    keep.attrs = table.attrs
    return dict(source=keep, arms=ARMS, recipe=Recipe(norm='dtype'), folds=3, epochs=8, fractions=(.3, 1))

def photos(runs):
    return dict(source=SHARED/'clothing10', arms=ARMS, recipe=Recipe(norm='dtype'), epochs=8, fractions=(.3, 1))

def lowbits(runs):
    folder = write_sample('mri', runs/'lowbits_images', n=240, low_bits=True)
    return dict(source=folder, arms=[*ARMS, 'frozen-rgb8'], folds=3, epochs=12)

ARMS = ('majority', 'logistic', 'small', 'frozen', 'finetune')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', default=['mri', 'blood', 'photos', 'lowbits'])
    p.add_argument('--runs', type=Path, default=Path('runs')/'contest')
    p.add_argument('--seeds', type=int, default=3)
    a = p.parse_args()
    a.runs.mkdir(parents=True, exist_ok=True)
    for name in a.names:
        run = a.runs/name
        result = resume(run) if (run/'run.json').exists() else compare(out=run, seeds=a.seeds, **globals()[name](a.runs), **WEIGHTS)
        print(f'## {name}\n\n{result.table.to_string(index=False)}\n\n{result.verdict}')
        if result.result['more_data']: print(result.result['more_data']['verdict'])
        print(flush=True)
        write_json(HERE/'results'/f'contest_{name}.json', result.result)
        result.plot().savefig(HERE/'results'/f'contest_{name}.png', dpi=110)
