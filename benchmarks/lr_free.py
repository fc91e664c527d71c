"""Optimisers that find their own step, in the judge of `lr_judge.py`: `python benchmarks/lr_free.py [TASK …]`.

Prodigy (Mishchenko and Defazio 2024) and Schedule-Free AdamW (Defazio 2024) come from `pytorch-optimizer`, as its
defaults are, with what their authors ask for: a cosine decay for Prodigy, 5 % of the steps as warm-up for
Schedule-Free. DoG (Ivgi 2023), which that package has not, is written here from equation 1 of its paper, with its
polynomial-decay average of the weights. All train as many steps as the judge does, on the real tasks that the judge
trains with Adam, three seeds. `cytokit` is `find_lr` and a one-cycle training with Adam at its rate: its seconds hold
both. `sweep` is the best of the true sweep, 12 rates × 3 seeds, made in the same run. About 40 minutes of one core;
what is done lies in --out, and a run that was cut short goes on.
Writes benchmarks/results/lr_free.json.
"""
import argparse, math, sys, time
from pathlib import Path
import numpy as np, torch
sys.path.insert(0, str(Path(__file__).resolve().parent))
from lr_judge import HERE, N_RATES, RATIO, SEEDS, TASKS, judged, make, share, sweep, trained
from lr_judge import ours as finder
from cytokit.core import read_json, seed_all, write_json
from cytokit.training.epochs import batch_norms, precise_bn

REAL_ADAM = [t for t in TASKS if not t.startswith('made_') and not t.endswith('_sgd')]

class DoG(torch.optim.Optimizer):
    "Distance over gradients: the step is the largest distance from the start over the root of all squared gradients."
    def __init__(self, groups, reps_rel=1e-6, eps=1e-8):
        super().__init__(groups, dict(lr=1., reps_rel=reps_rel, eps=eps))
        self.params = [p for g in self.param_groups for p in g['params']]
        self.start = [p.detach().clone() for p in self.params]
        self.farthest = reps_rel*(1 + self._norm(self.start))
        self.squares = 0.
    def _norm(self, tensors): return math.sqrt(sum(float(t.square().sum()) for t in tensors))
    @torch.no_grad()
    def step(self):
        self.farthest = max(self.farthest, self._norm([p - s for p, s in zip(self.params, self.start)]))
        self.squares += self._norm([p.grad for p in self.params if p.grad is not None])**2
        rate = self.farthest/math.sqrt(self.squares + 1e-8)
        for g in self.param_groups:
            for p in g['params']:
                if p.grad is not None: p.add_(p.grad, alpha=-rate*g['lr'])

class Average:
    "Mean of the weights of all steps, later ones weighing more (polynomial decay, Shamir and Zhang 2013, eta 8)."
    def __init__(self, model):
        self.model, self.mean, self.t = model, [p.detach().clone() for p in model.parameters()], 0
    @torch.no_grad()
    def after(self):
        self.t += 1
        for m, p in zip(self.mean, self.model.parameters()): m.lerp_(p, 9/(8 + self.t))
    @torch.no_grad()
    def use(self):
        for m, p in zip(self.mean, self.model.parameters()): p.copy_(m)

def groups_of(learn, task):
    "Parameter groups with their relative rates, as the judge's."
    ratio = RATIO.get(TASKS[task][1], (1.,))
    return [dict(params=list(g), lr=r) for g, r in zip(learn.splitter(learn.model), ratio)]

def contestant(name, learn, task, steps):
    "An optimiser, and its schedule: share of the rate at a step."
    from pytorch_optimizer import Prodigy, ScheduleFreeAdamW
    groups = groups_of(learn, task)
    if name == 'dog': return DoG(groups), lambda t: 1.
    if name == 'prodigy': return Prodigy(groups, weight_decay=.01), lambda t: .5*(1 + math.cos(math.pi*t/steps))
    for g in groups: g['lr'] *= 2.5e-3  # the package's default
    return ScheduleFreeAdamW(groups, weight_decay=.01, warmup_steps=math.ceil(.05*steps)), lambda t: 1.

def trained_free(name, task, seed):
    "Validation loss after as many steps as the judge trains, infinite if it broke down."
    learn, epochs = make(task, seed), TASKS[task][3]
    model, dl = learn.model, learn.dls.train
    steps = epochs*len(dl)
    opt, schedule = contestant(name, learn, task, steps)
    base, average, t = [g['lr'] for g in opt.param_groups], Average(model), 0
    finetune = TASKS[task][1] == 'finetune'
    for epoch in range(epochs):
        seed_all(epoch)
        dl.epoch = epoch
        model.train()
        if finetune:
            for m in batch_norms(model): m.eval()
        for x, y in dl:
            for g, lr in zip(opt.param_groups, base): g['lr'] = lr*schedule(t)
            opt.zero_grad()
            loss = learn.loss_func(model(x), y)
            if not math.isfinite(float(loss)): return math.inf
            loss.backward()
            opt.step()
            average.after()
            t += 1
    if name == 'dog': average.use()
    if hasattr(opt, 'eval'): opt.eval()
    return validation_loss(learn, finetune)

@torch.no_grad()
def validation_loss(learn, finetune):
    "As the judge measures it: batch norm from the training images first."
    dl = learn.dls.train
    if not finetune: precise_bn(learn.model, dl.x[torch.from_numpy(dl.index)])
    learn.model.eval()
    loss, n = zip(*[(float(learn.loss_func(learn.model(x), y))*len(x), len(x)) for x, y in learn.dls.valid])
    return sum(loss)/sum(n) if math.isfinite(sum(loss)) else math.inf

def with_finder(task, seed):
    "Rate, loss and steps of our finder, and of a training at its rate."
    lr, steps = finder(task, seed)
    return trained(task, lr, seed), steps

CONTESTANTS = ('cytokit', 'prodigy', 'dog', 'schedule_free')

def ask(task, out):
    "Loss and seconds of each, a seed at a time, each seed beginning with another."
    path = out/f'{task}.free.json'
    if path.exists(): return
    rows = {name: [] for name in CONTESTANTS}
    make(task, 0).fit(1, 1e-4)  # warm up
    for seed in range(SEEDS):
        k = seed % len(CONTESTANTS)
        for name in CONTESTANTS[k:] + CONTESTANTS[:k]:
            begun, extra = time.perf_counter(), 0
            if name == 'cytokit': loss, extra = with_finder(task, seed)
            else: loss = trained_free(name, task, seed)
            rows[name].append(dict(loss=loss, seconds=time.perf_counter() - begun, finder_steps=extra))
    write_json(path, rows)

def summary(task, out):
    "Each one's loss as a multiple of the best of the true sweep, and its cost."
    losses, i = judged(task, out)
    rows, best = read_json(out/f'{task}.free.json'), losses[i].mean()
    steps, trainings = TASKS[task][3]*len(make(task, 0).dls.train), N_RATES*SEEDS
    seconds = trainings*read_json(out/f'{task}.json')['seconds_a_training']
    found = dict(sweep=dict(loss_of_best=1., seconds=seconds, steps=float(trainings*steps)))
    for name, runs in rows.items():
        shares = [share(math.inf if r['loss'] is None else r['loss'], best) for r in runs]
        found[name] = dict(loss_of_best=float(np.mean(shares)), seconds=float(np.mean([r['seconds'] for r in runs])),
                           steps=steps + float(np.mean([r['finder_steps'] for r in runs])))
    noise = losses[i].std(ddof=1)/math.sqrt(SEEDS)/best
    return dict(task=task, best_loss=best, noise=noise, steps=steps, contestants=found)

def totals(tasks):
    "A row a contestant, over the tasks."
    rows = []
    for name in ('sweep', *CONTESTANTS):
        o = [t['contestants'][name] for t in tasks]
        x = np.array([p['loss_of_best'] for p in o])
        means = {k: float(np.mean([p[k] for p in o])) for k in ('steps', 'seconds')}
        within = {f'within_{k}_percent': int((x <= 1 + k/100).sum()) for k in (5, 10)}
        whole = dict(mean=float(np.exp(np.log(x).mean())), worst=float(x.max()))
        rows.append(dict(name=name, tasks=len(o), **within, **whole, **means))
    return rows

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('tasks', nargs='*', default=REAL_ADAM)
    p.add_argument('--out', type=Path, default=Path('runs')/'lr_free')
    a = p.parse_args()
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    done = []
    for task in a.tasks:
        ask(task, a.out)
        sweep(task, a.out)
        done.append(summary(task, a.out))
        print(task, {k: round(v['loss_of_best'], 3) for k, v in done[-1]['contestants'].items()}, flush=True)
    result = dict(totals=totals(done), tasks=done)
    for row in result['totals']: print(row)
    if len(done) == len(REAL_ADAM): write_json(HERE/'results'/'lr_free.json', result)
