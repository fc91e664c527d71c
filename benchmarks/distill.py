"""Many teachers, one student, on real images: `python benchmarks/distill.py [NAME ...]` (all cases if none is named).

Needs ../shared/data. Each case trains its teachers and then runs the same function as `cytokit distill`, with the
defaults of the command but for `--epochs`; nothing was tuned on the validation images. Run folders go to --runs,
figures to benchmarks/results/distill.json. What was cut short goes on.

photos_few    ten kinds of clothing; one label in ten is there. Both teachers are pretrained networks that learnt from
              these few labels alone, so the student's images without a label bring what ImageNet knew, and no hidden
              label.
photos_all    the same few labels for the student; the teacher was trained elsewhere, on all labels. It hands on what
              they taught it, not the labels.
blood         white blood cells; one label in four is there. Two specialists know three of four classes each, and had
              all labels of these.
blood_features  the same, matching the teachers' features.
"""
import argparse
from pathlib import Path
from cytokit.core import read_json, rng, write_json
from cytokit.data.datasets import read_table, split_table
from cytokit.data.preprocess import Preprocessing
from cytokit.training.distill import distill
from cytokit.training.fit import train
from cytokit.training.runs import resume

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'

def part(table, rows):
    "Some rows of a table."
    chosen = table[rows].reset_index(drop=True)
    chosen.attrs = dict(table.attrs)
    return chosen

def hide(table, kept):
    "The table with the share `kept` of the training labels of each class, whoever comes first in a fixed order."
    order = rng(0, 'labels').permutation(len(table))
    target = table['target'].copy()
    for name in sorted(set(table['target'])):
        rows = [i for i in order if table['target'][i] == name and table['split'][i] == 'train']
        target.iloc[rows[max(2, round(kept*len(rows))):]] = ''
    hidden = table.assign(target=target)
    hidden.attrs = dict(table.attrs)
    return hidden

def once(folder, make):
    "What `make(folder)` leaves, or left before."
    return resume(folder) if (folder/'run.json').exists() else make(folder)

def teacher(table, folder, size, **settings):
    "A teacher's run folder."
    def make(out): return train(table, out=out, preprocessing=Preprocessing(size=size, norm='dtype'), **settings)
    return once(folder, make).folder

def photos():
    table = read_table(SHARED/'clothing10')
    return table, hide(table, .1)

def photos_few(runs):
    _, some = photos()
    labelled = part(some, some['target'] != '')
    few = [teacher(labelled, runs/'photos_few_finetune', 96, method='finetune', epochs=10),
           teacher(labelled, runs/'photos_few_frozen', 128, method='frozen', epochs=15)]
    return dict(teachers=few, data=some)

def photos_all(runs):
    table, some = photos()
    return dict(teachers=[teacher(table, runs/'photos_all_finetune', 96, method='finetune', epochs=6)], data=some)

def blood(runs):
    table = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    table = part(table, table['target'] != 'basophil')  # one image: nothing can be learned or measured
    table = split_table(table, valid=.4, seed=0)
    known = dict(granules=['neutrophil', 'eosinophil', 'monocyte'], round=['lymphocyte', 'monocyte', 'neutrophil'])
    specialists = [teacher(part(table, table['target'].isin(names)), runs/f'blood_{name}', size, method='finetune',
                           epochs=8)
                   for (name, names), size in zip(known.items(), (64, 96))]
    return dict(teachers=specialists, data=hide(table, .25))

def blood_features(runs): return blood(runs) | dict(match='features')

CASES = dict(photos_few=photos_few, photos_all=photos_all, blood=blood, blood_features=blood_features)
STUDENT = dict(photos_few=15, photos_all=15, blood=30, blood_features=30)  # epochs: small sets need more

def summary(result):
    "What is kept of a run."
    names = ('models', 'difference', 'from_teachers', 'kept', 'conclusion', 'note', 'n_train', 'n_unlabelled',
             'n_valid', 'temperature', 'share', 'match', 'seeds', 'epochs', 'train_seconds')
    return {name: result[name] for name in names}

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', default=list(CASES))
    p.add_argument('--runs', type=Path, default=Path('runs')/'distill')
    p.add_argument('--seeds', type=int, default=3)
    a = p.parse_args()
    file = HERE/'results'/'distill.json'
    done = read_json(file) if file.exists() else {}
    for name in a.names:
        def make(folder):
            asked = CASES[name](a.runs)
            return distill(**asked, out=folder, preprocessing=Preprocessing(norm='dtype'), seeds=a.seeds,
                           epochs=STUDENT[name], batch_size=16)
        got = once(a.runs/name, make)
        print(f'## {name}\n\n{got.table.to_string(index=False)}\n\n{got.conclusion}\n', flush=True)
        done[name] = summary(got.result)
        write_json(file, done)
