"""Is a search worth its minutes? `python benchmarks/tuning.py [SET …]` (blood, clothing, textures; all by default).

What a person could do with the same minutes on the same core, three times with other seeds, on the set's own split:

- `tuned`: `cytokit.training.search` for --minutes, then one training of its best settings on the training part
- `longer`: one training of the defaults that goes on for those minutes (`Settings.seconds`)
- `ensemble`: the defaults with one seed after the other for those minutes, their scores averaged
- `defaults`: one training of the defaults, which takes a small part of them

Differences are paired over images and take in the variance between the three repeats. Twice: with trainings of the 15
epochs that `cytokit train` has by default, and with --epochs 6 --minutes .75, which are too few. About 9 minutes of
one core a set; what is done lies in --runs, and a run that was cut short goes on. Writes a part for each --epochs to
benchmarks/results/tuning.json.
"""
import argparse, time
from dataclasses import asdict, replace
from pathlib import Path
import numpy as np, torch
from cytokit.core import read_json, rng, write_json
from cytokit.data.datasets import read_table
from cytokit.data.preprocess import Preprocessing
from cytokit.data.synthetic import write_sample
from cytokit.metrics.classification import bootstrap, paired_difference
from cytokit.metrics.intervals import conclusion
from cytokit.training.fit import Settings, fit, plan_training
from cytokit.training.runs import target_values
from cytokit.training.search import Budget, Task, begin_search, images_of, run_trials, with_params
from cytokit.training.study import importance_of, trial_rows
from cytokit.training.targets import predictions
from cytokit.training.tuning import best_trial

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
METHODS, SEEDS, SIZE = ('tuned', 'longer', 'ensemble', 'defaults'), 3, 32

def blood(runs):
    t = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    return t[t['target'] != 'basophil'].reset_index(drop=True)  # one image
def clothing(runs):
    "40 photographs of each of 10 classes."
    t = read_table(SHARED/'clothing10').drop(columns='split')
    order = t.iloc[rng('tuning').permutation(len(t))]
    return order[order.groupby('target').cumcount() < 40].sort_index().reset_index(drop=True)
def textures(runs): return read_table(write_sample('textures', runs/'textures', n=300, seed=1))
SETS = dict(blood=blood, clothing=clothing, textures=textures)

def task_of(table, epochs):
    "The defaults on a set: what the command would do with its size and epochs."
    settings = Settings(epochs=epochs, batch_size=16)
    table, how, s, facts = plan_training(table, Preprocessing(size=SIZE), .3, settings)
    return Task(s, how, table, target_values(table, facts, 'split.csv'), len(facts['classes']), .3)

def trained(task, s, how):
    "Scores of the validation part, after a training on the whole training part."
    train, valid = [np.flatnonzero(task.table['split'] == part) for part in ('train', 'valid')]
    x = images_of(task, how)
    model, info = fit(x, task.y, train, valid, s, task.n_out)
    return predictions(model, x[valid]), info

def searched(task, folder, minutes):
    "The search of one repeat: its trials, and what mattered."
    folder.mkdir(parents=True, exist_ok=True)
    where, budget = folder/'study.db', Budget(minutes, folder/'clock.json')
    study, space = begin_search(task, where)
    run_trials(task, study, space, budget, where)
    shares, said = importance_of(study)
    return dict(space=asdict(space)['knobs'], trials=trial_rows(study), importance=shares, seconds=budget.clock.spent)

def repeat(task, folder, minutes):
    "Scores and seconds of each method, with one seed."
    done = folder/'repeat.json'
    if done.exists(): return read_json(done)
    how, got = task.preprocessing, {}
    search = searched(task, folder, minutes)
    best = best_trial(search, lower=False)
    begun = time.perf_counter()
    p, _ = trained(task, *with_params(task, best['params'] if best else {}))
    got['tuned'] = dict(scores=p, seconds=search['seconds'] + time.perf_counter() - begun)
    budget = got['tuned']['seconds']
    for name in ('defaults', 'longer'):
        begun = time.perf_counter()
        s = task.s if name == 'defaults' else replace(task.s, seconds=budget)
        p, info = trained(task, s, how)
        got[name] = dict(scores=p, seconds=time.perf_counter() - begun, epochs=len(info['history']))
        if name == 'defaults': lr = info['lr']
    members, begun, longest = [], time.perf_counter(), got['defaults']['seconds']
    while not members or time.perf_counter() - begun + longest < budget:
        members.append(trained(task, replace(task.s, seed=100*(task.s.seed + 1) + len(members), lr=lr), how)[0])
    got['ensemble'] = dict(scores=np.mean(members, 0), seconds=time.perf_counter() - begun, members=len(members))
    states = [row['state'] for row in search['trials']]
    about = dict(best=best, trials=len(states), finished=states.count('finished'), importance=search['importance'])
    write_json(done, dict(methods=got, search=about))
    return read_json(done)

def compared(name, runs, minutes, epochs):
    "All repeats of a set, and what they say together."
    task = task_of(SETS[name](runs), epochs)
    repeats = []
    for i in range(SEEDS):
        repeats.append(repeat(replace(task, s=replace(task.s, seed=i)), runs/f'{name}_{i}', minutes))
        print(name, i, {k: round(v['seconds']) for k, v in repeats[-1]['methods'].items()}, flush=True)
    held_out = (task.table['split'] == 'valid').to_numpy()
    y, scores = task.y[held_out], {m: np.array([r['methods'][m]['scores'] for r in repeats]) for m in METHODS}
    n_train = int((task.table['split'] == 'train').sum())
    row = dict(name=name, n_train=n_train, n_valid=len(y), searches=[r['search'] for r in repeats],
               ensemble_members=[r['methods']['ensemble']['members'] for r in repeats],
               longer_epochs=[r['methods']['longer']['epochs'] for r in repeats],
               seconds={m: float(np.mean([r['methods'][m]['seconds'] for r in repeats])) for m in METHODS},
               scores={m: asdict(bootstrap(y, scores[m])) for m in METHODS}, differences={})
    for other in METHODS[1:]:
        d = paired_difference(y, scores['tuned'], scores[other])
        row['differences'][other] = asdict(d) | dict(conclusion=conclusion(d, 'tuned', other))
        print(name, row['differences'][other]['conclusion'], flush=True)
    return row

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('sets', nargs='*', default=list(SETS))
    p.add_argument('--runs', type=Path, default=Path('runs')/'tuning')
    p.add_argument('--minutes', type=float, default=1.)
    p.add_argument('--epochs', type=int, default=15)
    a = p.parse_args()
    torch.set_num_threads(1)
    runs, file = a.runs/f'epochs_{a.epochs}', HERE/'results'/'tuning.json'
    runs.mkdir(parents=True, exist_ok=True)
    rows = [compared(name, runs, a.minutes, a.epochs) for name in a.sets]
    if set(a.sets) == set(SETS):
        known = read_json(file) if file.exists() else {}
        write_json(file, known | {f'epochs_{a.epochs}': dict(minutes=a.minutes, size=SIZE, sets=rows)})
