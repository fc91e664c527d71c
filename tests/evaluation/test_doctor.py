"""The doctor leaves no trace, and never crashes on what it does not know."""
import copy, random, time
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from cytokit.core import InputError
from cytokit.evaluation.doctor import doctor
from cytokit.evaluation.watch import watch

@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

def blobs(n=96, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    return torch.randn(n, 6, generator=g) + 2*(y[:, None] - .5), y

def parts(**settings):
    "A small healthy training whose every part has a state."
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(.1), nn.Linear(16, 2))
    opt = torch.optim.Adam(model.parameters(), lr=.01)
    loader = DataLoader(TensorDataset(*blobs()), 16, shuffle=True, generator=torch.Generator().manual_seed(1))
    return dict(thing=model, loss=nn.CrossEntropyLoss(), optimizer=opt, train_loader=loader,
                valid_loader=DataLoader(TensorDataset(*blobs(seed=1)), 32)) | settings

def plain_loop(model, loader, loss, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

def names(diagnosis): return [f.check for f in diagnosis.failed]

def everything(d):
    "All that must stay."
    model, opt, loader = d['thing'], d['optimizer'], d['train_loader']
    tensors = [*model.state_dict().values(), *(q.grad for q in model.parameters()), torch.get_rng_state(),
               loader.generator.get_state(), *(v for s in opt.state.values() for v in s.values())]
    modes = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    groups = [{k: v for k, v in g.items() if k != 'params'} for g in opt.param_groups]
    attributes = [sorted(vars(o)) for o in (opt, loader)]
    chance = random.getstate(), np.random.get_state()[1].tolist()
    return copy.deepcopy([tensors, modes, groups, attributes, chance])

def same(a, b):
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    if isinstance(a, list): return len(a) == len(b) and all(map(same, a, b))
    return a == b

def test_nothing_is_changed(tmp_path):
    "A training in the middle: gradients, moments of Adam, statistics of batch norm, generators."
    d = parts()
    plain_loop(*list(d.values())[:1], d['train_loader'], d['loss'], d['optimizer'])
    file = tmp_path/'weights.pt'

    def own(model, loader, loss, optimizer):
        plain_loop(model, loader, loss, optimizer)
        model.eval()
        model[0].requires_grad_(False)
        torch.save(model.state_dict(), file)

    before, backward = everything(d), torch.autograd.backward
    found = doctor(**d, train=own)
    assert same(before, everything(d))
    assert torch.autograd.backward is backward and not file.exists()
    assert all(q.requires_grad for q in d['thing'].parameters())
    assert names(found) == []

def test_an_exception_of_the_loop_leaves_nothing():
    d = parts()
    def broken(model, loader, loss, optimizer):
        plain_loop(model, loader, loss, optimizer)
        raise RuntimeError('no more')
    before = everything(d)
    assert names(doctor(**d, train=broken))[0] == 'loop_runs'
    assert same(before, everything(d))

class Raises:
    def __iter__(self): raise OSError('disk gone')

class Endless:
    def __iter__(self):
        x, y = blobs()
        while True: yield x[:16], y[:16]

def generator(): yield blobs()

NOT_A_NUMBER = [(torch.full((8, 6), float('nan')), torch.arange(8) % 2)]*3

@pytest.mark.parametrize('loader, check', [(Raises(), 'loader_reads'), ([], 'loader_reads'), (generator(), None),
                                           (NOT_A_NUMBER, 'inputs_finite')])
def test_loaders_that_give_little(loader, check):
    found = doctor(**parts(train_loader=loader, valid_loader=None))
    assert names(found)[0] == check if check else 'loader_reads' not in names(found)

def test_an_endless_loader_and_an_endless_loop_end():
    begun = time.perf_counter()
    def for_ever(model, loader, loss, optimizer):
        while True: plain_loop(model, [next(iter(loader))], loss, optimizer)
    found = doctor(**parts(train_loader=Endless()), train=for_ever, seconds=20)
    assert time.perf_counter() - begun < 100 and len(found.findings) > 40

def text_loss(out, y): return 'low'
def vector_loss(out, y): return F.cross_entropy(out, y, reduction='none')

@pytest.mark.parametrize('loss', [text_loss, vector_loss])
def test_losses_that_are_no_number(loss): assert 'step_runs' in names(doctor(**parts(loss=loss)))

class OfDicts(nn.Module):
    "Takes and gives what Hugging Face models do."
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 2)

    def forward(self, pixel_values, labels):
        logits = self.net(pixel_values)
        return dict(loss=F.cross_entropy(logits, labels), logits=logits)

def test_batches_of_dicts_and_a_model_with_its_own_loss():
    x, y = blobs()
    batches = [dict(pixel_values=x[i:i + 16], labels=y[i:i + 16]) for i in range(0, 96, 16)]
    model = OfDicts()
    found = doctor(model, None, torch.optim.Adam(model.parameters(), lr=.01), batches, batches[:2])
    assert {f.check: f.result for f in found.findings}['step_runs'] == 'pass'

class Lightning(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 2)

    def forward(self, x): return self.net(x)
    def training_step(self, batch, i): return F.cross_entropy(self(batch[0]), batch[1])

def test_a_module_with_a_training_step():
    d = parts(thing=Lightning(), loss=None, optimizer=None)
    assert {f.check: f.result for f in doctor(**d).findings}['gradient_flows'] == 'pass'

@pytest.mark.parametrize('thing, line', [(3, 'first argument must be'), ('nowhere', 'no such folder'),
                                         (nn.Linear(6, 2), 'train_loader is missing')])
def test_wrong_arguments_get_one_line(thing, line):
    with pytest.raises(InputError, match=line): doctor(thing)

def test_watch_around_plain_code():
    d = parts()
    with watch(d['thing'], d['optimizer'], d['loss']) as seen:
        for x, y in d['train_loader']: d['loss'](d['thing'](x), y).backward()
    assert len(seen.losses) == 6 and not seen.steps and seen.arguments == dict(first=True, second=False)
