"""Judge learning-rate finders by true sweeps: `python benchmarks/lr_judge.py [TASK …]` (all tasks if none is named).

A task is a network, an optimiser and a set of images. Its judge: 12 rates × 3 seeds, each trained one-cycle as `training.fit` does, by the validation
loss at the end. Then every finder is asked on the same untrained learner (a seed at a time), and the training is repeated at the rate it names.
The numbers in `find_lr` were chosen on the tasks named `made_…` (images that cytokit draws itself, and scikit-learn's digits) and on nine real ones, from ../shared/data; the
seven in UNSEEN were added afterwards; the number of rates, the strides and the steps of a training were last chosen on all of them, to save time.
Peers: fastai's valley; torch-lr-finder and Lightning, from --peers (`pip install --target FOLDER --no-deps torch-lr-finder lightning
pytorch-lightning lightning-utilities torchmetrics`). What is done lies in --out, one JSON a task; a run that was cut short goes on.
Writes benchmarks/results/lr_judge.{json,png}; seconds are those of --clock, run afterwards.
"""
import argparse, contextlib, io, logging, math, sys, tempfile, time, warnings
from functools import lru_cache
from pathlib import Path
import matplotlib, numpy as np, pandas as pd, torch
matplotlib.use('Agg')
from PIL import Image
from torch import nn
from torch.nn import functional as F
from fastai.callback.core import Callback, TrainEvalCallback
from fastai.callback.schedule import valley
from fastai.data.core import DataLoaders
from fastai.learner import Learner, Recorder
from fastai.optimizer import SGD, Adam
from cytokit.core import read_json, rng, seed_all, write_json
from cytokit.data.datasets import read_table
from cytokit.data.formats import read_image
from cytokit.data.preprocess import Preprocessing, resize
from cytokit.training.loaders import Loader, load_arrays
from cytokit.training.models import backbone, param_groups, small_cnn
from cytokit.data.synthetic import make_cells, write_sample

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
WEIGHTS = dict(weights=str(SHARED/'weights'/'mobilenet_v2_100_in1k_qat.safetensors'), arch='mobilenetv2_100', mean=.5, std=.5, padding='same')
SEEDS, N_RATES = 3, 12

# %% Images: x (N, C, H, W), y, rows to train on and to validate on
def parted(group, n_train, n_valid):
    "Rows to train on, then rows of other groups (patients) to validate on; how many are of the first kind."
    groups, order = rng('judge').permutation(np.unique(group)), rng('judge', 'rows').permutation(len(group))
    first = np.isin(group, groups[:round(len(groups)*n_train/(n_train + n_valid))])[order]
    rows = np.r_[order[first][:n_train], order[~first][:n_valid]]
    return rows, min(n_train, int(first.sum()))
def split(table, n_train, n_valid, preprocessing):
    "Images of a table, whole groups in one part."
    names = sorted(table['target'].astype(str).unique())
    rows, n = parted(table['group'].astype(str).to_numpy() if 'group' in table else np.arange(len(table)).astype(str), n_train, n_valid)
    table = table.iloc[rows]
    return load_arrays(table, preprocessing), torch.tensor(table['target'].astype(str).map(names.index).to_numpy()), np.arange(n), np.arange(n, len(rows))

@lru_cache
def blood(size=32):
    t = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    return split(t[t['target'] != 'basophil'].reset_index(drop=True), 180, 119, Preprocessing(norm='dtype', size=size, channels=3))
@lru_cache
def clothing(size=32): return split(read_table(SHARED/'clothing10').drop(columns='split', errors='ignore'), 240, 200, Preprocessing(norm='dtype', size=size, channels=3))
@lru_cache
def mri(size=40): return split(read_table(SHARED/'open_ms_contrast'/'slices.csv', image='file', target='contrast', group='patient'), 240, 160, Preprocessing(size=size, channels=1))
def pairs(images, truth, size, n_train, channels=1):
    "Images with what is to be found in them: truth(path of an image) is a boolean mask."
    y = np.stack([resize(truth(o).astype('float32')[..., None], size, 'pad')[..., 0] > .5 for o in images])
    return load_arrays([str(o) for o in images], Preprocessing(size=size, channels=channels)), torch.tensor(y[:, None]).float(), np.arange(n_train), np.arange(n_train, len(y))
def mask(path): return read_image(path).array.squeeze()
@lru_cache
def nuclei(size=48):
    t = pd.read_csv(SHARED/'nuclei'/'images.csv')
    t = t[t['split'] == 'train'].iloc[rng('judge').permutation((t['split'] == 'train').sum())[:240]]
    find = lambda folder, o: next(SHARED.joinpath('nuclei', folder).glob(f'{Path(o).stem}.*'))
    return pairs([find('images', o) for o in t.iloc[:, 0]], lambda o: mask(find('labels', o)) > 0, size, 160)
@lru_cache
def cell_nuclei(size=48):
    files = sorted((SHARED/'wbc_segmentation'/'dataset1'/'images').iterdir())
    files = [files[i] for i in rng('judge').permutation(len(files))[:240]]
    return pairs(files, lambda o: mask(o.parents[1]/'masks'/o.name) == 2, size, 160, 3)
@lru_cache
def tissue(size=64):
    t = pd.read_csv(SHARED/'ptbp_t1_tissue'/'slices.csv')
    rows, n = parted(t['subject_group_inferred'].to_numpy(), 160, 80)
    return pairs([SHARED/'ptbp_t1_tissue'/'images'/o for o in t['file'].iloc[rows]], lambda o: mask(o.parents[1]/'labels'/o.name) == 3, size, n)
@lru_cache
def membranes(size=64):
    "Patches of the slices at half their size; the last ten slices to validate on."
    half = lambda folder: np.stack([mask(f).reshape(256, 2, 256, 2).mean((1, 3)) for f in sorted((SHARED/'isbi_membrane'/'train'/folder).iterdir())])
    cut = lambda a: a.reshape(30, 4, size, 4, size).swapaxes(2, 3).reshape(480, size, size)
    x, y = cut(half('image')), cut(half('label'))
    rows = np.r_[rng('judge').permutation(320)[:160], 320 + rng('judge', 'rows').permutation(160)[:80]]
    return torch.tensor((x[rows]/255 - .5)/.25).float()[:, None], torch.tensor(y[rows] < 128).float()[:, None], np.arange(160), np.arange(160, 240)
@lru_cache
def textures():
    with tempfile.TemporaryDirectory() as d: return split(read_table(write_sample('textures', Path(d)/'t', n=320)), 160, 160, Preprocessing(norm='dtype', size=32, channels=3))
@lru_cache
def made_mri():
    with tempfile.TemporaryDirectory() as d: return split(read_table(write_sample('mri', Path(d)/'t', n=320)), 160, 160, Preprocessing(size=40, channels=1))
@lru_cache
def digits():
    from sklearn.datasets import load_digits
    o, d = rng('judge').permutation(1797)[:600], load_digits()
    return torch.tensor(d.images[o]).float()[:, None]/16, torch.tensor(d.target[o]).long(), np.arange(300), np.arange(300, 600)
@lru_cache
def cells():
    pairs = [make_cells(i, size=48) for i in range(200)]
    x = torch.tensor(np.stack([p[0] for p in pairs]).astype('float32')[:, None]); x = x/x.amax((2, 3), keepdim=True)
    return x, torch.tensor(np.stack([p[1] > 0 for p in pairs])[:, None]).float(), np.arange(130), np.arange(130, 200)

# %% Networks
class UNet(nn.Module):
    "The plain one (Ronneberger 2015), three levels, with batch norm and padding."
    def __init__(self, n_in=1, n_out=1, w=8):
        super().__init__()
        block = lambda i, o: nn.Sequential(*[l for a in (i, o) for l in (nn.Conv2d(a, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())])
        self.down = nn.ModuleList([block(n_in, w), block(w, 2*w), block(2*w, 4*w)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4*w, 2*w, 2, 2), nn.ConvTranspose2d(2*w, w, 2, 2)])
        self.back = nn.ModuleList([block(4*w, 2*w), block(2*w, w)])
        self.head = nn.Conv2d(w, n_out, 1)
    def forward(self, x):
        kept = []
        for i, b in enumerate(self.down):
            x = b(F.max_pool2d(x, 2) if i else x); kept.append(x)
        for u, b, k in zip(self.up, self.back, kept[-2::-1]): x = b(torch.cat([u(x), k], 1))
        return self.head(x)

@lru_cache
def features_of(images):
    x, y, train, valid = images()
    m = backbone(n_in=x.shape[1], n_out=2, **WEIGHTS).eval()
    with torch.no_grad(): f = torch.cat([m.features(F.interpolate(b, size=64)) for b in x.split(64)])
    return (f - f[train].mean(0))/f[train].std(0).clamp(min=.1*f[train].std(0).mean()), y, train, valid

class KeepNorm(Callback):
    "As `training` does for pretrained networks."
    def before_train(self):
        for m in self.model.modules():
            if isinstance(m, nn.BatchNorm2d): m.eval()

def sgd(params, lr, **kwargs): return SGD(params, lr, mom=.9, **kwargs)

# name: images, network, optimiser, epochs, batch size, lowest and highest rate of the judge's sweep
ADAM, SGDM, HEAD = (1e-4, .2), (1e-3, 3.), (3e-4, 1.)
TASKS = dict(
    made_mri_adam=(made_mri, 'small', Adam, 6, 32, *ADAM), made_mri_sgd=(made_mri, 'small', sgd, 6, 32, *SGDM),
    made_digits_adam=(digits, 'mlp', Adam, 10, 16, *HEAD), made_digits_sgd=(digits, 'mlp', sgd, 10, 16, *SGDM), made_mri_frozen=(made_mri, 'head', Adam, 10, 32, *HEAD),
    made_textures_frozen_sgd=(textures, 'head', sgd, 10, 32, *SGDM),
    made_cells_unet=(cells, 'unet', Adam, 6, 16, *ADAM), made_textures_frozen=(textures, 'head', Adam, 10, 32, *HEAD),
    blood_small=(blood, 'small', Adam, 9, 32, *ADAM), blood_small_sgd=(blood, 'small', sgd, 9, 32, *SGDM), clothing_small=(clothing, 'small', Adam, 8, 32, *ADAM),
    clothing_finetune=(clothing, 'finetune', Adam, 3, 32, *ADAM), blood_frozen=(blood, 'head', Adam, 10, 32, *HEAD), clothing_frozen=(clothing, 'head', Adam, 15, 32, *HEAD),
    mri_small=(mri, 'small', Adam, 8, 32, *ADAM), nuclei_unet=(nuclei, 'unet', Adam, 6, 16, *ADAM), nuclei_unet_sgd=(nuclei, 'unet', sgd, 6, 16, *SGDM),
    clothing_small_sgd=(clothing, 'small', sgd, 8, 32, *SGDM), clothing_frozen_sgd=(clothing, 'head', sgd, 15, 32, *SGDM), blood_finetune=(blood, 'finetune', Adam, 6, 32, *ADAM),
    blood_unet=(cell_nuclei, 'unet', Adam, 6, 16, *ADAM), tissue_unet_sgd=(tissue, 'unet', sgd, 6, 16, *SGDM), membrane_unet=(membranes, 'unet', Adam, 6, 16, *ADAM), membrane_unet_sgd=(membranes, 'unet', sgd, 6, 16, *SGDM))
UNSEEN = ('clothing_small_sgd', 'clothing_frozen_sgd', 'blood_finetune', 'blood_unet', 'tissue_unet_sgd', 'membrane_unet', 'membrane_unet_sgd')
RATIO = dict(finetune=(.04, .2, 1.))

def make(task, seed):
    "An untrained learner, the same for the same seed."
    images, net, opt, _, bs, *_ = TASKS[task]
    x, y, train, valid = features_of(images) if net == 'head' else images()
    n_in, n_out = x.shape[1], int(y.max()) + 1
    seed_all(seed)
    m = {'small': lambda: small_cnn(n_in, n_out), 'unet': lambda: UNet(n_in), 'head': lambda: nn.Linear(n_in, n_out), 'mlp': lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, n_out)), 'finetune': lambda: backbone(n_in=n_in, n_out=n_out, **WEIGHTS)}[net]()
    dls = DataLoaders(Loader(x, y, train, bs, True, 'light' if net in ('small', 'finetune') else 'none', seed), Loader(x, y, valid, 64), device='cpu')
    groups = param_groups(m) if net == 'finetune' else [list(m.parameters())]
    learn = Learner(dls, m, F.binary_cross_entropy_with_logits if net == 'unet' else nn.CrossEntropyLoss(), opt_func=opt, splitter=lambda m: groups, wd=.01,
                    default_cbs=False, cbs=[TrainEvalCallback, Recorder, *([KeepNorm] if net == 'finetune' else [])])
    learn.logger = lambda *a: None
    return learn

class Epochs(Callback):
    def before_epoch(self):
        seed_all(self.epoch); self.dls.train.epoch = self.epoch
    def after_batch(self):
        if self.training and not math.isfinite(self.loss): raise KeyboardInterrupt

def trained(task, lr, seed):
    "Validation loss after a one-cycle training at `lr`, infinite if it broke down."
    learn, ratio = make(task, seed), RATIO.get(TASKS[task][1], (1.,))
    try: learn.fit_one_cycle(TASKS[task][3], [lr*r for r in ratio], cbs=Epochs())
    except KeyboardInterrupt: return math.inf
    dl, norms = learn.dls.train, [m for m in learn.model.modules() if isinstance(m, nn.BatchNorm2d)] if TASKS[task][1] != 'finetune' else []
    with torch.no_grad():
        for m in norms: m.reset_running_stats(); m.momentum = None
        for b in dl.x[torch.from_numpy(dl.index)].split(64) if norms else (): learn.model.train()(b)
        learn.model.eval()
        loss, n = zip(*[(float(learn.loss_func(learn.model(x), y))*len(x), len(x)) for x, y in learn.dls.valid])
    return sum(loss)/sum(n) if math.isfinite(sum(loss)) else math.inf

def rates_of(task): return np.geomspace(*TASKS[task][5:], N_RATES)

def sweep(task, out):
    "The judge: losses (rates, seeds), kept a rate at a time."
    path = out/f'{task}.json'
    d = read_json(path) if path.exists() else dict(losses=[])
    for lr in rates_of(task)[len(d['losses']):]:
        t = time.perf_counter()
        d['losses'].append([trained(task, lr, s) for s in range(SEEDS)])
        d['seconds_a_training'] = (time.perf_counter() - t)/SEEDS
        write_json(path, d)
    return d

# %% Finders: each returns (rate of the last group or None, training steps)
def ours(task, seed):
    from cytokit.training.lr_finder import find_lr
    still = lambda m: [b.eval() for b in m.modules() if isinstance(b, nn.BatchNorm2d)]
    net = TASKS[task][1]
    f = find_lr(make(task, seed), ratio=RATIO.get(net), prepare=still if net == 'finetune' else None)
    return f.lr, f.steps

def fastai(task, seed):
    learn, ratio = make(task, seed), np.array(RATIO.get(TASKS[task][1], (1.,)))
    with tempfile.TemporaryDirectory() as d:
        learn.path = Path(d)
        lr = learn.lr_find(1e-7*ratio, 10*ratio, show_plot=False, suggest_funcs=valley)[0]
    return float(lr), len(learn.recorder.lrs)

class OneRate(torch.optim.Optimizer):
    "One rate to the outside, relative rates of the groups inside: the peers know one rate only."
    def __init__(self, learn, ratio, opt):
        groups = [[p for p in g if p.requires_grad] for g in learn.splitter(learn.model)]
        self.inner, self.rel = opt([dict(params=g) for g in groups]), ratio
        super().__init__(sum(groups, []), dict(lr=1e-3))
    def step(self, closure=None):
        loss = closure() if closure else None
        for g, r in zip(self.inner.param_groups, self.rel): g['lr'] = self.param_groups[0]['lr']*r
        self.inner.step()
        return loss

def parts(task, seed):
    "The learner for the peers, with torch's optimiser of the same arithmetic as fastai's; batch norm of a pretrained network stays as it is."
    learn = make(task, seed)
    opt = (lambda g: torch.optim.AdamW(g, betas=(.9, .99), eps=1e-5, weight_decay=.01)) if TASKS[task][2] is Adam else lambda g: torch.optim.SGD(g, lr=.1, momentum=.9, weight_decay=.01)
    if TASKS[task][1] == 'finetune':
        for m in learn.model.modules():
            if isinstance(m, nn.BatchNorm2d): m.train = lambda mode=True, m=m: m
            if isinstance(m, nn.BatchNorm2d): m.training = False
    return learn, OneRate(learn, RATIO.get(TASKS[task][1], (1.,)), opt)

class Sized:
    "The loader with the attributes that torch-lr-finder asks for, a new order every pass."
    def __init__(self, dl): self.dl, self.dataset = dl, range(len(dl.index))
    def __len__(self): return len(self.dl)
    def __iter__(self):
        yield from self.dl
        self.dl.epoch += 1

def torch_lr_finder(task, seed):
    from torch_lr_finder import LRFinder, TrainDataLoaderIter
    learn, opt = parts(task, seed)
    class Batches(TrainDataLoaderIter):
        def __init__(self, dl): self.data_loader, self._iterator, self.auto_reset = dl, iter(dl), True
    opt.param_groups[0]['lr'] = 1e-7
    f = LRFinder(learn.model, opt, learn.loss_func, device='cpu')
    f.range_test(Batches(Sized(learn.dls.train)), end_lr=10, num_iter=100)
    try: return f.plot(suggest_lr=True, log_lr=True)[1], len(f.history['lr'])
    except (TypeError, ValueError, IndexError): return None, len(f.history['lr'])
    finally: matplotlib.pyplot.close('all')

def lightning(task, seed):
    import pytorch_lightning as pl
    from pytorch_lightning.tuner import Tuner
    learn, opt = parts(task, seed)
    class Module(pl.LightningModule):
        def __init__(self): super().__init__(); self.net, self.lr = learn.model, 1e-3
        def training_step(self, b, i): return learn.loss_func(self.net(b[0]), b[1])
        def configure_optimizers(self):
            opt.param_groups[0]['lr'] = self.lr
            return opt
    with tempfile.TemporaryDirectory() as d:
        trainer = pl.Trainer(accelerator='cpu', devices=1, max_epochs=1000, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=d)
        f = Tuner(trainer).lr_find(Module(), train_dataloaders=Sized(learn.dls.train))
    return f.suggestion(), len(f.results['lr'])

def judged(task, out):
    "(losses (rates, seeds), index of the best rate) of the judge's sweep."
    losses = np.array([[math.inf if o is None else o for o in l] for l in read_json(out/f'{task}.json')['losses']])
    return losses, losses.clip(max=50).mean(1).argmin()

# `oracle` names the judge's best rate times 1.1: how far the judge's own noise lets a finder come
FINDERS = dict(cytokit=ours, fastai=fastai, torch_lr_finder=torch_lr_finder, lightning=lightning, oracle=None)

def found(task, name, seed, out):
    "(rate or None, steps) without what it prints."
    if name == 'oracle': return 1.1*rates_of(task)[judged(task, out)[1]], 0
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter('ignore')
        return FINDERS[name](task, seed)

def ask(task, name, out):
    "Rate, steps and the loss of a training at that rate, a seed at a time."
    path = out/f'{task}.{name}.json'
    if path.exists(): return
    rows = []
    for seed in range(SEEDS):
        lr, steps = found(task, name, seed, out)
        rows.append(dict(lr=lr, steps=steps, loss=trained(task, lr, seed) if lr else None))
    write_json(path, rows)

def clock(task, out):
    "Seconds of each finder, after an epoch to warm up: mean over the seeds, each beginning with another finder."
    path, names = out/f'{task}.seconds.json', list(FINDERS)
    if path.exists(): return
    make(task, 0).fit(1, 1e-4)
    seconds = dict.fromkeys(names, 0.)
    for seed in range(SEEDS):
        for name in names[seed:] + names[:seed]:
            t = time.perf_counter()
            found(task, name, seed, out)
            seconds[name] += (time.perf_counter() - t)/SEEDS
    write_json(path, seconds)

# %% Report
def share(loss, best): return min(loss, 50.)/best if loss is not None and math.isfinite(loss) else 50./best

def summary(task, out):
    "What a task says: the judge's sweep, and each finder's loss as a multiple of the sweep's best."
    d, (losses, i) = read_json(out/f'{task}.json'), judged(task, out)
    best = losses[i].clip(max=50).mean()
    row = dict(task=task, made=task.startswith('made_'), unseen=task in UNSEEN, rates=rates_of(task), losses=losses, best_rate=rates_of(task)[i], best_loss=best,
               noise=losses[i].std(ddof=1)/math.sqrt(SEEDS)/best, seconds_a_training=d['seconds_a_training'], finders={})
    seconds = read_json(f) if (f := out/f'{task}.seconds.json').exists() else {}
    for name in FINDERS:
        if not (out/f'{task}.{name}.json').exists(): continue
        r = read_json(out/f'{task}.{name}.json')
        named = [o for o in r if o['lr']]
        row['finders'][name] = dict(rates=[o['lr'] for o in r], loss_of_best=float(np.mean([share(o['loss'], best) for o in named])) if named else None,
            answers=len(named), seconds=seconds.get(name), steps=float(np.mean([o['steps'] for o in r])))
    return row

def totals(rows):
    "A row a finder, over these tasks."
    t, common = [], [r for r in rows if all(r['finders'].get(n, {}).get('loss_of_best') for n in FINDERS)]
    for name in FINDERS:
        f = [r['finders'][name] for r in rows if name in r['finders']]
        x = np.array([o['loss_of_best'] or math.nan for o in f])
        if len(f): t.append(dict(finder=name, tasks=len(f), within_5_percent=int((x <= 1.05).sum()), within_10_percent=int((x <= 1.1).sum()), mean_where_all_answer=float(np.exp(np.mean([np.log(r['finders'][name]['loss_of_best']) for r in common]))) if common else None,
            n_where_all_answer=len(common), worst=float(np.nanmax(x)),
            answers=sum(o['answers'] for o in f), asked=SEEDS*len(f), steps=float(np.mean([o['steps'] for o in f])), seconds=sum(o['seconds'] or math.nan for o in f)))
    return t

def draw(rows):
    "Every sweep, with the rates that each finder named."
    import matplotlib.pyplot as plt
    marks = dict(cytokit=('o', '#D55E00'), fastai=('^', '#56B4E9'), torch_lr_finder=('s', '#009E73'), lightning=('D', '#CC79A7'))
    fig, axs = plt.subplots(math.ceil(len(rows)/3), 3, figsize=(9, 2.1*math.ceil(len(rows)/3)), layout='constrained')
    for ax, r in zip(axs.flat, rows):
        x, y = r['rates'], r['losses'].clip(max=50)
        top = 2.5*r['best_loss']
        ax.fill_between(x, y.min(1).clip(max=2*top), y.max(1).clip(max=2*top), color='0.85'); ax.plot(x, y.mean(1), color='black', lw=1)
        for i, (name, f) in enumerate((k, v) for k, v in r['finders'].items() if k in marks):
            v = [o for o in f['rates'] if o]
            ax.plot(np.clip(v, x[0]/3, x[-1]*3), [top*(.96 - .07*i)]*len(v), marks[name][0], color=marks[name][1], mec='black', mew=.5, ms=5, label=name.replace('_', '-') if r is rows[0] else None)
        ax.axvline(r['best_rate'], color='0.6', lw=1, ls=':')
        ax.set(xscale='log', ylim=(.8*r['best_loss'], top), xlim=(x[0]/4, x[-1]*4)); ax.set_title(r['task'].replace('_', ' '), fontsize=8); ax.tick_params(labelsize=7)
    for ax in axs.flat[len(rows):]: ax.axis('off')
    fig.supxlabel('highest learning rate of the one-cycle training', fontsize=8); fig.supylabel('validation loss at the end (mean and range of 3 seeds)', fontsize=8)
    fig.legend(loc='outside upper center', ncols=4, fontsize=8, frameon=False)
    return fig

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('tasks', nargs='*', default=list(TASKS))
    p.add_argument('--out', type=Path, default=Path('runs')/'lr_judge')
    p.add_argument('--peers', help='folder with torch-lr-finder and Lightning; without it they are left out')
    p.add_argument('--clock', action='store_true', help='only measure the seconds of each finder')
    p.add_argument('--draw', action='store_true', help='only write the table and the figure of what is there')
    a = p.parse_args()
    torch.set_num_threads(1)
    logging.getLogger('pytorch_lightning').setLevel(logging.ERROR)
    if a.peers: sys.path.append(a.peers)
    else: FINDERS = {k: FINDERS[k] for k in ('cytokit', 'fastai', 'oracle')}
    a.out.mkdir(parents=True, exist_ok=True)
    for task in a.tasks if a.clock else []: clock(task, a.out)
    for task in [] if a.draw or a.clock else a.tasks:
        sweep(task, a.out)
        for name in FINDERS: ask(task, name, a.out)
        print(task, {k: v['loss_of_best'] for k, v in summary(task, a.out)['finders'].items()}, flush=True)
    rows = [summary(t, a.out) for t in TASKS if (a.out/f'{t}.json').exists() and len(read_json(a.out/f'{t}.json')['losses']) == N_RATES]
    real = [r for r in rows if not r['made']]
    result = dict(totals=totals(real), unseen=totals([r for r in real if r['unseen']]), tasks=rows)
    for k in ('totals', 'unseen'):
        for t in result[k]: print(k, t)
    write_json(HERE/'results'/'lr_judge.json', result)
    f = io.BytesIO()
    draw(real).savefig(f, dpi=80)
    Image.open(f).convert('RGB').quantize(48).save(HERE/'results'/'lr_judge.png', optimize=True)
