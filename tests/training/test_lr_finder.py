"""`find_lr` leaves no trace, whatever it is given: what does not fit into its notebook."""
import random
import numpy as np, pytest, torch
from fastai.callback.core import TrainEvalCallback
import fastai.callback.schedule  # noqa: F401 (brings fit_one_cycle)
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader as FastLoader
from fastai.learner import Learner, Recorder
from fastai.optimizer import Adam, OptimWrapper
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from cytokit.core import InputError, seed_all
from cytokit.training.loaders import loaders
from cytokit.training.lr_finder import _smooth, find_lr, rules
from cytokit.training.models import small_cnn

X = torch.from_numpy(np.random.default_rng(0).normal(size=(48, 1, 16, 16)).astype('float32'))
X = X + torch.arange(48)[:, None, None, None] % 2
Y = torch.arange(48) % 2

def learner(opt=Adam, frozen=False, dls=None):
    seed_all(0)
    model = small_cnn(1, 2, dropout=.2)
    if frozen:
        for p in model.body[0].parameters(): p.requires_grad_(False)
    groups = lambda m: [list(m.body.parameters()), list(m.head.parameters())]
    learn = Learner(dls or loaders(X, Y.numpy(), range(32), range(32, 48), 8, 'light'), model, nn.CrossEntropyLoss(),
                    opt_func=opt, splitter=groups,
                    default_cbs=False, cbs=[TrainEvalCallback, Recorder], wd=.01)
    learn.logger = lambda *a: None
    return learn

def chance(): return [random.random(), float(np.random.rand()), *torch.rand(2).tolist()]

def everything(learn):
    "All numbers that a training could leave behind."
    out = [v.clone() for v in learn.model.state_dict().values()] + [p.grad for p in learn.model.parameters()]
    if learn.opt: out += [v for s in learn.opt.state.values() for v in s.values()] + [str(learn.opt.hypers)]
    return out + [m.training for m in learn.model.modules()] + [learn.lr, learn.opt is None, sorted(vars(learn)),
                                                                getattr(learn.dls.train, 'epoch', None)]

def same(a, b):
    return len(a) == len(b) and all(torch.equal(i, j) if isinstance(i, torch.Tensor) and isinstance(j, torch.Tensor)
                                    else i is j or i == j for i, j in zip(a, b))

def interrupted(learn):
    calls, loss = [], learn.loss_func
    def later(*a):
        calls.append(1)
        if len(calls) == 30: raise KeyboardInterrupt
        return loss(*a)
    learn.loss_func = later
    with pytest.raises(KeyboardInterrupt): find_lr(learn, ratio=(.1, 1.))
    learn.loss_func = loss

def in_bf16(learn):
    find_lr(learn, accumulate=2, precision='bfloat16', sweeps=2, steps=20, trial=4)

CASES = dict(fresh={}, warm={}, frozen=dict(frozen=True),
             torch_adam=dict(opt=lambda p, **k: OptimWrapper(p, torch.optim.AdamW, **k)))

@pytest.mark.parametrize('finder',
                         [lambda l: find_lr(l, ratio=(.1, 1.)), interrupted, in_bf16],
                         ids=['found', 'interrupted', 'bf16'])
@pytest.mark.parametrize('case', CASES)
def test_no_trace(case, finder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = []
    for find in (None, finder):
        learn = learner(**CASES[case])
        if case == 'warm': learn.fit(1, 1e-3)
        seed_all(1)
        if find:
            before = everything(learn)
            find(learn)
            assert same(before, everything(learn))
        drawn = chance()
        learn.fit_one_cycle(2, [1e-3, 1e-2])
        results.append([*everything(learn), drawn, chance(), str(learn.recorder.values)])
    assert same(*results) and not list(tmp_path.iterdir())

def test_grads_stay():
    learn = learner()
    learn.loss_func(learn.model(X), Y).backward()
    grads = [p.grad for p in learn.model.parameters()]
    copies = [g.clone() for g in grads]
    find_lr(learn)
    assert all(p.grad is g and torch.equal(g, c) for p, g, c in zip(learn.model.parameters(), grads, copies))

@pytest.mark.parametrize('workers', [0, 1])
def test_bare_torch_loader(workers):
    def run(find):
        seed_all(0)
        model = small_cnn(1, 2)
        opt = torch.optim.SGD(model.parameters(), lr=.01, momentum=.9)
        steps = torch.optim.lr_scheduler.StepLR(opt, 3)
        loader = DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=torch.Generator().manual_seed(3),
                            num_workers=workers)
        if find: find_lr((model, opt, loader, F.cross_entropy), steps=20)
        losses = []
        for x, y in [*loader, *loader]:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad(); loss.backward(); opt.step(); steps.step()
            losses.append(loss.item())
        return losses, steps.get_last_lr(), torch.rand(1).item()
    assert run(False) == run(True)

def test_fastai_loader():
    items = [(x, y) for x, y in zip(X, Y)]
    def run(find):
        seed_all(0)
        dls = DataLoaders(FastLoader(items, bs=8, shuffle=True, num_workers=0),
                          FastLoader(items[:8], bs=8, num_workers=0), device='cpu')
        learn = learner(dls=dls)
        if find: find_lr(learn)
        learn.fit(2, 1e-3)
        return learn.recorder.values, [v.tolist() for v in learn.model.state_dict().values()]
    assert str(run(False)) == str(run(True))

def test_module_counters_and_shared_buffers():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.layer = 0, nn.Linear(256, 2)
            self.register_buffer('seen', torch.zeros(1), persistent=False)
        def forward(self, x):
            self.calls += 1
            self.seen += 1
            return self.layer(x.flatten(1))
    m = Counter()
    find_lr((m, torch.optim.Adam(m.parameters()), [(X[:8], Y[:8]), (X[8:16], Y[8:16])], F.cross_entropy))
    assert m.calls == 0 and m.seen.item() == 0

def test_same_answer_twice():
    a, b = find_lr(learner()), find_lr(learner())
    assert a.lr == b.lr and np.array_equal(a.losses, b.losses, equal_nan=True)

def test_more_sweeps():
    f = find_lr(learner(), steps=50, sweeps=2, trial=20)
    assert f.losses.shape == (2, 50) and f.steps == np.isfinite(f.losses).sum() + 20*len(f.tried)
    assert '2 sweeps' in str(f)
    assert f.low <= f.lr <= f.high and .85*f.tried[0] <= f.lr <= f.tried[-1]

def test_one_batch():
    m = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    f = find_lr((m, torch.optim.Adam(m.parameters()), [(X, Y)], F.cross_entropy))
    assert f.steps > 0 and (f.lr is None or f.low <= f.lr <= f.high)

def test_infinite_later():
    m = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
    f = find_lr((m, torch.optim.SGD(m.parameters(), lr=1.), [(X[i::4], Y[i::4]) for i in range(4)],
                 lambda p, y: (p[:, 0] - y).square().mean()), high=1e6)
    assert f.lr is None or 1e-6 < f.lr < 1

def test_prepare_keeps_norm():
    seen = []
    def still(model):
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d): m.eval(); seen.append(m)
    learn = learner()
    find_lr(learn, prepare=still)
    assert seen and all(m.training for m in seen)

@pytest.mark.parametrize('bad',
                         [dict(low=-1.), dict(high=0), dict(steps=0), dict(sweeps=True), dict(trial=3),
                          dict(accumulate=0), dict(precision='int8'), dict(ratio=(1., 1., 1.))])
def test_bad_input(bad):
    with pytest.raises(InputError) as e: find_lr(learner(), **bad)
    assert '\n' not in str(e.value)

# One sweep on the set of lesson 5, recorded with one and with two threads: the same up to 0.01, then rounding decides.
BEGIN = [1.0, .99, .97, .94, .9, .84, .77, .7, .61, .54, .49, .46, .42, .35, .32, .39, .77, 1.08, .21, .32, .75]
END = {1: [.96, 1.6, .33, .57, .61, .15, .24, .66, .93, .25, .6, .53, .44, 1.34, 13.35],
       2: [.97, 1.61, .33, .6, .62, .16, .27, .61, 1.34, .46, .9, 1.39, 1.85]}

def test_steepest_is_on_the_first_fall():
    rates = np.geomspace(1e-6, 10, 49)
    said = []
    for end in END.values():
        losses = np.full(49, np.nan)
        losses[[0, 5, *range(10, 29 + len(end))]] = BEGIN + end
        said.append(rules(rates, _smooth(losses))['steepest'])
    assert max(said) < 2*min(said), said
    assert 3e-5 < min(said) and max(said) < 1e-3, said
