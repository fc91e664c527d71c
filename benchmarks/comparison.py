"""The comparison on real images: `python benchmarks/comparison.py [mri] [blood] [photos] [lowbits]` (all of them if none is named).

Needs ../shared/data (real sets and ImageNet weights; `lowbits` makes its own images). Each comparison runs through the same function as `cytokit compare`,
leaves its run folder in --runs, and writes its figures to benchmarks/results/comparison_NAME.{json,png}. A comparison that was cut short goes on.
`lowbits` also writes lowbits_why.png: what is left of a slice after 8 bits.
"""
import argparse
from pathlib import Path
import matplotlib, numpy as np
matplotlib.use('Agg')
from cytokit.evaluation.compare import compare
from cytokit.core import write_json
from cytokit.data.datasets import read_table
from cytokit.data.formats import read_image
from cytokit.data.preprocess import Preprocessing, to_rgb8
from cytokit.data.synthetic import write_sample
from cytokit.training.runs import resume

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
WEIGHTS = dict(weights=str(SHARED/'weights'/'mobilenet_v2_100_in1k_qat.safetensors'), arch='mobilenetv2_100', mean=.5, std=.5, padding='same')

def mri(runs):
    table = read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient')
    return dict(source=table, methods=[*METHODS, 'frozen-rgb8'], folds=3, epochs=8, fractions=(.3, 1))

def blood(runs):
    table = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    keep = table[table['target'] != 'basophil'].reset_index(drop=True)  # one image: nothing can be learned or measured
    keep.attrs = table.attrs
    return dict(source=keep, methods=METHODS, preprocessing=Preprocessing(norm='dtype'), folds=3, epochs=8, fractions=(.3, 1))

def photos(runs):
    return dict(source=SHARED/'clothing10', methods=METHODS, preprocessing=Preprocessing(norm='dtype'), epochs=8, fractions=(.3, 1))

def lowbits(runs):
    folder = write_sample('mri', runs/'lowbits_images', n=240, low_bits=True)
    return dict(source=folder, methods=[*METHODS, 'frozen-rgb8'], folds=3, epochs=12)

def why(table):
    "One slice of each class, as `frozen` and as `frozen-rgb8` see it: full depth above, after 8 bits by minimum and maximum below."
    import matplotlib.pyplot as plt
    fig, axs = plt.subplots(2, 4, figsize=(9, 5), layout='constrained')
    for col, (_, o) in zip(axs.T, table.groupby('group').nth(2).head(4).iterrows()):
        a = read_image(o['image']).array
        for ax, a, name in zip(col, (a, to_rgb8(a)[..., 0]), ('16 bits', '8 bits')):
            ax.imshow(a, cmap='gray', vmin=a.min(), vmax=max(np.percentile(a, 99.5), a.min() + 1))
            ax.set(xticks=[], yticks=[], xlabel=f'{name}: {len(np.unique(a[32:96, 40:88]))} grey levels\nin the middle of the head')
        col[0].set_title(o['target'])
    return fig

METHODS = ('majority', 'logistic', 'small', 'frozen', 'finetune')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', default=['mri', 'blood', 'photos', 'lowbits'])
    p.add_argument('--runs', type=Path, default=Path('runs')/'comparison')
    p.add_argument('--seeds', type=int, default=3)
    a = p.parse_args()
    a.runs.mkdir(parents=True, exist_ok=True)
    for name in a.names:
        run = a.runs/name
        result = resume(run) if (run/'run.json').exists() else compare(out=run, seeds=a.seeds, **globals()[name](a.runs), **WEIGHTS)
        print(f'## {name}\n\n{result.table.to_string(index=False)}\n\n{result.conclusion}')
        if result.result['more_data']: print(result.result['more_data']['conclusion'])
        print(flush=True)
        write_json(HERE/'results'/f'comparison_{name}.json', result.result)
        result.plot().savefig(HERE/'results'/f'comparison_{name}.png', dpi=110)
        if name == 'lowbits': why(read_table(a.runs/'lowbits_images')).savefig(HERE/'results'/'lowbits_why.png', dpi=110)
