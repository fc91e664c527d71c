"""Which pretraining helps: `python benchmarks/pretraining.py [mri] [blood] [photos]` (all three if none is named).

Four pretrainings of a backbone (none, synthetic textures, ImageNet's EfficientNet-Lite0, ImageNet's MobileNetV2), frozen and fine-tuned, with a small
CNN and a logistic regression beside them, on the three real sets of ../shared/data: 96 pixels, 8 epochs, three seeds, the same split for all.
The first three come with cytokit, MobileNetV2 from ../shared/data/weights. 'none' is EfficientNet-Lite0 with random weights.
Each comparison runs through the same function as `cytokit compare` and leaves its run folder in --runs; one that was cut short goes on.
The figures go to benchmarks/results/pretraining.json, with the paired difference of each method to the small CNN and to ImageNet's EfficientNet-Lite0.
"""
import argparse
from dataclasses import asdict
from pathlib import Path
import numpy as np
from comparison import SHARED, WEIGHTS
from cytokit.evaluation.compare import compare
from cytokit.core import read_json, write_json
from cytokit.data.datasets import read_table
from cytokit.data.preprocess import Preprocessing
from cytokit.hardware import machine
from cytokit.metrics.classification import bootstrap, paired_difference
from cytokit.training.runs import resume

RESULTS = Path(__file__).resolve().parent/'results'/'pretraining.json'
PRETRAININGS = dict(imagenet=dict(weights='imagenet'), textures=dict(weights='textures'), mobilenet=WEIGHTS,
                    none=dict(weights='random', arch='tf_efficientnet_lite0', mean=.5, std=.5))

def mri():
    table = read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient')
    return dict(source=table, preprocessing=Preprocessing(size=96), folds=3)

def blood():
    table = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    keep = table[table['target'] != 'basophil'].reset_index(drop=True)  # one image: nothing can be learned or measured
    keep.attrs = table.attrs
    return dict(source=keep, preprocessing=Preprocessing(size=96, norm='dtype'), folds=3)

def photos():
    return dict(source=SHARED/'clothing10', preprocessing=Preprocessing(size=96, norm='dtype'))

SETS = dict(mri=mri, blood=blood, photos=photos)

def run(folder, methods, seeds, settings):
    "A finished comparison in `folder`: begun, gone on with, or only read."
    if (folder/'run.json').exists(): return resume(folder)
    return compare(methods=methods, out=folder, seeds=seeds, epochs=8, **settings)

def method_scores(comparison, classes):
    "{method: scores (S, N, K)}, with the class numbers and groups of the N images; images in the order of their names."
    d, table = comparison.predictions, read_table(comparison.folder/'split.csv')
    group = dict(zip(table['image'], table['group'])) if 'group' in table else None
    out = {}
    for method, rows in d.groupby('method'):
        parts = [s.sort_values('image') for _, s in rows.groupby('seed')]
        out[method] = np.stack([p[[f'score_{c}' for c in classes]].to_numpy() for p in parts])
    images = parts[0]['image']
    groups = images.map(group).to_numpy() if group else None
    return out, parts[0]['target'].map(classes.index).to_numpy(), groups

def gather(comparisons):
    "One dict a set: each method with its interval, and its difference to the small CNN and to ImageNet's backbone."
    classes = comparisons['baselines'].result['dataset']['classes']
    scores = {}
    for key, comparison in comparisons.items():
        got, targets, groups = method_scores(comparison, classes)
        scores |= got if key == 'baselines' else {key: s for s in got.values()}
    out = dict(dataset=comparisons['baselines'].result['dataset'], methods={}, machine=machine())
    for method, s in scores.items():
        other = f'{method.split()[0]} imagenet'
        out['methods'][method] = dict(score=asdict(bootstrap(targets, s, groups)), minus_small=asdict(paired_difference(targets, s, scores['small'], groups)))
        if other in scores and other != method: out['methods'][method]['minus_imagenet'] = asdict(paired_difference(targets, s, scores[other], groups))
    return out

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', default=list(SETS))
    p.add_argument('--runs', type=Path, default=Path('runs')/'pretraining')
    p.add_argument('--methods', default='frozen,finetune', help='What the backbones do, comma-separated.')
    p.add_argument('--seeds', type=int, default=3)
    a = p.parse_args()
    for name in a.names:
        settings = SETS[name]()
        comparisons = {'baselines': run(a.runs/f'{name}_baselines', ['logistic', 'small'], a.seeds, settings)}
        for method in a.methods.split(','):
            for pretraining, weights in PRETRAININGS.items():
                comparisons[f'{method} {pretraining}'] = run(a.runs/f'{name}_{pretraining}_{method}', [method], a.seeds, settings | weights)
        found = gather(comparisons)
        write_json(RESULTS, (read_json(RESULTS) if RESULTS.exists() else {}) | {name: found})
        for method, m in found['methods'].items():
            s, d = m['score'], m['minus_small']
            print(f'{name:7} {method:20} {s["mean"]:.3f} ({s["low"]:.3f} to {s["high"]:.3f}); minus small {d["mean"]:+.3f} ({d["low"]:+.3f} to {d["high"]:+.3f})', flush=True)
