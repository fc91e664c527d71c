"""How fast is a training? `python benchmarks/speed.py [--seeds 5] [--epochs 10] [--frozen-epochs 20] [--quick]`

One process, one set of real files (../shared/data/clothing10: 1 100 training and 341 validation photographs), one network (`small_cnn`), 64 pixels, batches of 64,
Adam, one cycle up to the same rate. Comparisonants: fastai with its defaults, a bare PyTorch loop as the tutorials write it, torchvision's v2 transforms with
workers, and cytokit; and the bare step on a tensor in memory, as the limit. Seeds are the outer loop, so that a busy machine hits all alike.
Then the frozen stage: a pretrained MobileNetV2, only the head trained. Prints a table, writes benchmarks/results/speed.json.
"""
import argparse, contextlib, json, os, statistics, tempfile, threading, time
from pathlib import Path
os.environ['CYTOKIT_CACHE'] = tempfile.mkdtemp(prefix='cytokit-speed-')
import numpy as np, torch
from torch import nn
from cytokit import hardware as machine
from cytokit.core import seed_all, set_quiet, write_json
from cytokit.data.datasets import classes, read_table
from cytokit.data.preprocess import Preprocessing
from cytokit.training.loaders import clear_cache, load_arrays
from cytokit.training.models import backbone, small_cnn
from cytokit.training.fit import Settings, fit

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
DATA, SIZE, BATCH, RATE, WORKERS = SHARED/'clothing10', 64, 64, 4e-3, 2
WEIGHTS = dict(weights=str(SHARED/'weights'/'mobilenet_v2_100_in1k_qat.safetensors'), arch='mobilenetv2_100', mean=.5, std=.5, padding='same')

@contextlib.contextmanager
def peak():
    "Most memory of this process and its workers meanwhile, beyond what was held at the start; in MB, as .mb"
    import psutil
    me, held, stop = psutil.Process(), type('Peak', (), dict(mb=0.))(), threading.Event()
    def now():
        n = 0
        for p in [me, *me.children(recursive=True)]:
            with contextlib.suppress(psutil.Error): n += p.memory_full_info().pss
        return n/1e6
    start = now()
    def watch():
        while not stop.wait(.25): held.mb = max(held.mb, now() - start)
    t = threading.Thread(target=watch); t.start()
    try: yield held
    finally: stop.set(); t.join()

def torch_loop(train_dl, valid_dl, n_out, epochs, seed):
    "The loop of PyTorch's tutorials; yields seconds and validation accuracy of each epoch."
    seed_all(seed)
    net, loss_fn = small_cnn(3, n_out), nn.CrossEntropyLoss()
    net.forward = lambda x: net.head(net.body(x))  # without our memory layout
    opt = torch.optim.Adam(net.parameters(), lr=RATE)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, RATE, epochs=epochs, steps_per_epoch=len(train_dl))
    for _ in range(epochs):
        t = time.perf_counter()
        net.train()
        for x, y in train_dl:
            opt.zero_grad()
            loss_fn(net(x), y).backward()
            opt.step(); sched.step()
        net.eval(); right = n = 0
        with torch.no_grad():
            for x, y in valid_dl: right, n = right + int((net(x).argmax(1) == y).sum()), n + len(y)
        yield time.perf_counter() - t, right/n

def plain_fastai(epochs, seed):
    from fastai.vision.all import Callback, CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize, accuracy, aug_transforms
    t, got = time.perf_counter(), []
    class Watch(Callback):
        order = 70
        def before_epoch(self): self.t = time.perf_counter()
        def after_epoch(self): got.append((time.perf_counter() - self.t, float(self.recorder.values[-1][-1])))
    seed_all(seed)
    dls = ImageDataLoaders.from_folder(DATA, train='train', valid='validation', item_tfms=Resize(SIZE), batch_tfms=aug_transforms(), bs=BATCH)
    net = small_cnn(3, dls.c)
    net.forward = lambda x: net.head(net.body(x))
    learn = Learner(dls, net, CrossEntropyLossFlat(), metrics=accuracy, cbs=Watch())
    before = time.perf_counter() - t
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, RATE)
    return before, got

def _folders(train_tf, valid_tf):
    from torchvision.datasets import ImageFolder
    from torch.utils.data import DataLoader
    a, b = ImageFolder(DATA/'train', train_tf), ImageFolder(DATA/'validation', valid_tf)
    return DataLoader(a, BATCH, shuffle=True, num_workers=WORKERS), DataLoader(b, BATCH, num_workers=WORKERS), len(a.classes)

def tutorial(epochs, seed):
    from torchvision import transforms as T
    t, norm = time.perf_counter(), T.Normalize([.485, .456, .406], [.229, .224, .225])
    dls = _folders(T.Compose([T.RandomResizedCrop(SIZE, scale=(.8, 1)), T.RandomHorizontalFlip(), T.ToTensor(), norm]), T.Compose([T.Resize(SIZE), T.CenterCrop(SIZE), T.ToTensor(), norm]))
    before = time.perf_counter() - t
    return before, list(torch_loop(*dls, epochs, seed))

def v2_workers(epochs, seed):
    from torchvision.transforms import v2
    t, end = time.perf_counter(), [v2.ToDtype(torch.float32, scale=True), v2.Normalize([.485, .456, .406], [.229, .224, .225])]
    dls = _folders(v2.Compose([v2.ToImage(), v2.Resize((SIZE, SIZE), antialias=True), v2.RandomHorizontalFlip(), v2.RandomAffine(10, (.05, .05), (.9, 1.1)), v2.ColorJitter(.1, .1), *end]),
                   v2.Compose([v2.ToImage(), v2.Resize((SIZE, SIZE), antialias=True), *end]))
    before = time.perf_counter() - t
    return before, list(torch_loop(*dls, epochs, seed))

def kit(epochs, seed):
    t = time.perf_counter()
    tab = read_table(DATA)
    names, rows = classes(tab), {k: np.flatnonzero(tab['split'] == k) for k in ('train', 'valid')}
    x, y = load_arrays(tab, Preprocessing(size=SIZE, channels=3, norm='dtype')), tab['target'].map(names.index).to_numpy()
    before = time.perf_counter() - t
    _, info = fit(x, y, rows['train'], rows['valid'], Settings(epochs=epochs, seed=seed, lr=RATE, batch_size=BATCH, balance=False), len(names))
    return before, [(h['seconds'], h['accuracy']) for h in info['history']]

def limit(n_train, n_valid):
    "Seconds of an epoch if there were nothing but the steps, on one batch in memory: the network in our best layout and precision."
    from fastai.optimizer import Adam
    seed_all(0)
    net = small_cnn(3, 10).to(memory_format=torch.channels_last)
    net.precision = machine.best_precision()
    x, y = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last), torch.randint(10, (BATCH,))
    opt, steps, forwards = Adam([list(net.parameters())], lr=1e-4), [], []
    with machine.keep_allocator_memory():
        for _ in range(25):
            t = time.perf_counter()
            nn.functional.cross_entropy(net(x), y).backward(); opt.step(); opt.zero_grad()
            steps.append(time.perf_counter() - t)
        net.eval()
        with torch.no_grad():
            for _ in range(10):
                t = time.perf_counter(); net(x); forwards.append(time.perf_counter() - t)
    step, forward = (statistics.median(o[5:]) for o in (steps, forwards))
    return step*n_train/BATCH + forward*n_valid/BATCH, BATCH/step

def frozen_fastai(epochs):
    "fastai's frozen stage: the body does not learn, each epoch decodes, augments and runs it again."
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize, accuracy, aug_transforms
    t = time.perf_counter()
    dls = ImageDataLoaders.from_folder(DATA, train='train', valid='validation', item_tfms=Resize(SIZE), batch_tfms=aug_transforms(), bs=BATCH)
    net = backbone(n_in=3, n_out=dls.c, **WEIGHTS)
    net.forward = lambda x: net.head(net.body(x))
    learn = Learner(dls, net, CrossEntropyLossFlat(), metrics=accuracy, splitter=lambda m: [list(m.body.parameters()), list(m.head.parameters())])
    learn.freeze()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, 3e-3)
    return time.perf_counter() - t, float(learn.recorder.values[-1][-1])

def frozen_kit(epochs):
    clear_cache()
    t = time.perf_counter()
    tab = read_table(DATA)
    names, rows = classes(tab), {k: np.flatnonzero(tab['split'] == k) for k in ('train', 'valid')}
    x, y = load_arrays(tab, Preprocessing(size=SIZE, channels=3, norm='dtype')), tab['target'].map(names.index).to_numpy()
    _, info = fit(x, y, rows['train'], rows['valid'], Settings(method='frozen', epochs=epochs, lr=3e-3, batch_size=BATCH, balance=False, **WEIGHTS), len(names))
    return time.perf_counter() - t, info['history'][-1]['accuracy']

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--epochs', type=int, default=10)
    p.add_argument('--frozen-epochs', type=int, default=20)
    p.add_argument('--target', type=float, default=.5, help='validation accuracy to reach')
    a = p.parse_args()
    set_quiet()
    split = read_table(DATA)['split'].value_counts()
    n, m = int(split['train']), int(split['valid'])
    ways = dict(fastai=plain_fastai, tutorial=tutorial, v2=v2_workers, cytokit=kit)
    runs = {k: [] for k in ways}
    machine.best_precision()  # asked once a machine, not in every training
    mb = {}
    for k, f in ways.items():  # imports and warm caches of the system count for nobody; and memory is watched here, for watching takes time
        with peak() as held: f(2, 99)
        mb[k] = held.mb
    for seed in range(a.seeds):
        for k, f in ways.items():
            clear_cache()
            before, epochs = f(a.epochs, seed)
            total = np.cumsum([before + epochs[0][0], *[s for s, _ in epochs[1:]]])
            reached = [float(s) for s, (_, score) in zip(total, epochs) if score >= a.target]
            runs[k].append(dict(first=n/float(total[0]), later=n/statistics.median(s for s, _ in epochs[1:]), score=epochs[-1][1], seconds=float(total[-1]), to_target=reached[0] if reached else None))
            print(k, seed, {x: round(v, 3) if v else v for x, v in runs[k][-1].items()}, flush=True)
    best_epoch, bare = limit(n, m)
    med = lambda k, x: statistics.median(r[x] if r[x] is not None else float('inf') for r in runs[k])
    score = {k: [r['score'] for r in rs] for k, rs in runs.items()}
    frozen = dict(fastai=frozen_fastai(a.frozen_epochs), cytokit=frozen_kit(a.frozen_epochs))
    gain = np.array(score['cytokit']) - np.array(score['fastai'])
    half = 2.776*gain.std(ddof=1)/len(gain)**.5 if len(gain) == 5 else float('nan')
    result = dict(machine=machine.machine(), rates=machine.probe()['rates'], epochs=a.epochs, runs=runs, mb=mb, limit=dict(epoch_seconds=best_epoch, images_per_second=bare),
                  frozen={k: dict(seconds=s, score=v, epochs=a.frozen_epochs) for k, (s, v) in frozen.items()},
                  ratios=dict(later=med('cytokit', 'later')/med('fastai', 'later'), first=med('cytokit', 'first')/med('fastai', 'first'), memory=mb['cytokit']/mb['fastai'],
                              of_limit=best_epoch*med('cytokit', 'later')/n, frozen=frozen['fastai'][0]/frozen['cytokit'][0]),
                  score_gain=dict(mean=float(gain.mean()), low=float(gain.mean() - half), high=float(gain.mean() + half)))
    write_json(HERE/'results'/'speed.json', result)
    print(f'\n{"":10} first epoch  later epochs (images/s)  s to {a.target:.2f}  accuracy  peak MB')
    for k in ways: print(f'{k:10} {med(k, "first"):11.0f}  {med(k, "later"):12.0f}  {med(k, "to_target"):20.1f}  {np.mean(score[k]):8.3f}  {mb[k]:7.0f}')
    print(f'the bare step: {bare:.0f} images/s, an epoch with validation {best_epoch:.2f} s')
    print(json.dumps({k: round(v, 2) for k, v in result['ratios'].items()}), 'cytokit against fastai; of_limit: part of the bare step')
    print('accuracy, cytokit - fastai:', {k: round(v, 3) for k, v in result['score_gain'].items()}, '; frozen, seconds and accuracy:', {k: (round(s, 1), round(v, 3)) for k, (s, v) in frozen.items()})
