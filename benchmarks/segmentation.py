"""Nuclei from pairs: how good, how fast, how large? `python benchmarks/segmentation.py PART … --peers FOLDER [--quick]`, PART of
quality, step, predict, target, memory, membranes, targets, large; or all.

One machine, one process (but for memory and large, which need their own), the same files: nuclei of ../shared/data, their part `train` cut 80:20 by image
into training and validation. Peers, from --peers (`pip install --target FOLDER --no-deps segmentation-models-pytorch monai albumentations==2.0.8
albucore==0.0.24 opencv-python-headless stringzilla simsimd`), each by the preprocessing of its own tutorials, in float32:
fastai  unet_learner(resnet18), DataBlock, RandomCrop, aug_transforms, its cross-entropy, Adam, fit_one_cycle at 1e-3
smp     Unet('resnet18'), albumentations, DiceLoss, Adam, cosine from 2e-4 to 1e-5 (its example of buildings)
monai   BasicUNet, CacheDataset, RandCropByPosNegLabel, flips and turns, DiceCELoss, Adam at 1e-3, sliding_window_inference, best of its checks kept
All begin from random weights: pretrained ones cannot be fetched here (timm, torchvision and smp bring none with them), which costs fastai and smp most.
All get patches of 128 pixels, 8 a step, 2 loading processes. Schedules of the peers follow the clock, so that each uses its budget to the end.
Given to the peers for nothing: masks written as they want them, MONAI's checks, and all other setting up in `quality`.

quality    training with --minutes each; foreground probability, thresholds chosen on the validation images (objects.tune_instances), objects. `+rim`: the
           peer learns background, rim and inside of objects (Caicedo 2019), inside are the seeds. `cytokit, one map`: without our seed map; `eight views of test-time augmentation`: with
           --tta, thresholds as without. AP and Dice are means over images, `map_dice` is that of the map at 0.5, before objects are made; differences are
           paired. --part test is for the end.
step       a step with its data, as training does it; and bare steps on a batch in memory, ours also with about the peer's
           number of parameters: with as many halvings, and in the shape of `base`
predict    megapixels a second from PNG files of 1024 × 1024 to maps; random weights
target     seconds from the first file to a Dice of --dice (mean over whole validation images at 0.5), looked at after each epoch, the looking not counted;
           the schedule is --minutes long, and the best over all --minutes that were run counts
memory     peak beyond what imports take, in a process of its own, workers too: pages (PSS), and of these the anonymous ones, without mapped files
membranes  the 30 pairs: five blocks of six neighbouring slices, one for scoring, the next for thresholds, a fifth of --minutes each; beside the classical baseline
targets    cytokit with each target and --minutes: objects of the validation images
large      a picture of --side pixels, tiled TIFF to objects, in a process of its own

What is done lies in --out, one JSON a run; a benchmark that was cut short goes on. Writes its part of benchmarks/results/segmentation.json (--quick: OUT/quick.json).
"""
import argparse, contextlib, copy, json, math, os, statistics, subprocess, sys, threading, time, warnings
from pathlib import Path
import numpy as np, pandas as pd, torch
from PIL import Image
from fastai.optimizer import Adam
from cytokit import hardware as machine
from cytokit.segmentation import fit as unet_fit, pipeline as segmentation
from cytokit.core import digest, read_json, seed_all, set_quiet, write_json
from cytokit.data.preprocess import Preprocessing, fit_preprocessing
from cytokit.segmentation.instances import InstanceParams, tune_instances, separate_instances
from cytokit.metrics.segmentation import dice, score_difference, score_interval, score_objects, score_pixels
from cytokit.segmentation.patches import load_pixels, make_targets
from cytokit.segmentation.unet import unet

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'
PEERS, CROP, BATCH = ('fastai', 'smp', 'monai'), 128, 8
METHODS = ('cytokit', *PEERS, *(f'{p}+rim' for p in PEERS))
RATES = dict(fastai=1e-3, smp=2e-4, monai=1e-3)
EIGHT = 'cytokit, eight views of test-time augmentation'
SCORES = ('ap_50', 'mean_ap', 'dice', 'pq', 'count_error_abs')

# %% Data
def nuclei(part='train', few=None):
    "Pairs of nuclei; `part` 'train' with its fixed split, few: so many of each, small ones."
    home = SHARED/'nuclei'
    t = pd.read_csv(home/'images.csv')
    t = t[t['split'] == part]
    valid = np.random.default_rng(0).random(len(t)) < .2 if part == 'train' else np.zeros(len(t), bool)
    d = pd.DataFrame(dict(image=[str(home/f'images/{i}.png') for i in t['id']], target=[str(home/f'labels/{i}.png') for i in t['id']],
                          split=np.where(valid, 'valid', part), area=(t['height']*t['width']).to_numpy()))
    if few: d = pd.concat([d[(d['split'] == k) & (d['area'] <= 2**17)].head(n) for k, n in (('train', 2*few), ('valid', few), ('test', few))], ignore_index=True)
    d = d.drop(columns='area').reset_index(drop=True)
    d.attrs = dict(name='nuclei', root=str(home), task='mask')
    return d

def labels_of(path): return np.array(Image.open(path)).astype('i4')

def with_masks(table, out):
    "Masks as the peers want them: 0 and 1; or 0, 1 rim, 2 inside."
    table = table.copy()
    for n in (2, 3):
        home, files = out/f'masks{n}', []
        home.mkdir(parents=True, exist_ok=True)
        for t in table['target']:
            f = home/f'{Path(t).stem}.png'
            if not f.exists():
                m = (make_targets(labels_of(t), 'border') > 0).astype('u1')
                Image.fromarray(m[..., :n - 1].sum(-1, dtype='u1')).save(f)
            files.append(str(f))
        table[f'mask{n}'] = files
    return table

def mosaic(side, seed=0):
    "A picture (side, side, 3) uint8 of training images beside each other."
    r, t = np.random.default_rng(seed), nuclei()
    row = lambda k: next(np.array(Image.open(t['image'][i]).convert('RGB')) for i in [int(r.integers(len(t)))])
    out = np.zeros((side, side, 3), 'u1')
    for y in range(0, side, 256):
        for x in range(0, side, 256):
            a = row(0)[:256, :256]
            out[y:y + 256, x:x + 256] = a[:side - y, :side - x]
    return out

# %% Time and memory
class Clock:
    "Seconds since the start without the pauses; and when each step was done."
    def __init__(self): self.start, self.lost, self.ticks, self.until = time.perf_counter(), 0., [], math.inf
    @property
    def seconds(self): return time.perf_counter() - self.start - self.lost
    @contextlib.contextmanager
    def pause(self):
        t = time.perf_counter()
        try: yield
        finally: self.lost += time.perf_counter() - t
    def tick(self):
        self.ticks.append(self.seconds)
        if self.ticks[-1] > self.until: raise Enough('')

class Enough(Exception): pass

def where(a): return dict(machine.machine(), threads=a.threads)

@contextlib.contextmanager
def peak():
    "Most memory of this process and its workers meanwhile, beyond what was held at the start, in MB: .mb, and without mapped files .own"
    import psutil
    me, held, stop = psutil.Process(), type('Peak', (), dict(mb=0., own=0.))(), threading.Event()
    def now():
        n = np.zeros(2)
        for p in [me, *me.children(recursive=True)]:
            with contextlib.suppress(OSError, psutil.Error):
                d = {k: int(v.split()[0]) for k, _, v in (l.partition(':') for l in Path(f'/proc/{p.pid}/smaps_rollup').read_text().splitlines()[1:])}
                n += d['Pss']/1e3, d['Pss_Anon']/1e3
        return n*1.024
    start = now()
    def watch():
        while not stop.wait(.1): held.mb, held.own = np.maximum((held.mb, held.own), now() - start)
    t = threading.Thread(target=watch); t.start()
    try: yield held
    finally: stop.set(); t.join()

# %% The four ways. Each: net, epochs, train(clock, budget, check), maps(file) -> (K, H, W) float32, predict(file) as its users do it
def seeded(p):
    "Foreground, and inside where it was learnt, of class probabilities (C, H, W)."
    return np.stack([1 - p[0], *p[2:]]).clip(0, 1).astype('f4')

class Cytokit:
    bare_loss = staticmethod(lambda p, y: unet_fit.segment_loss(p, torch.stack([y, y], 1).float()))
    def __init__(self, table, a, seed=0, **_):
        self.seed, self.settings, self.epochs, self.config = seed, a.settings, 0, None
        self.preprocessing = fit_preprocessing(list(table.loc[table['split'] == 'train', 'image']), Preprocessing())
        self.pixels, self.split = load_pixels(table, self.preprocessing, 'instance', a.settings.get('target', 'distance')), table['split'].to_numpy()
        self.net = unet_fit.make_network(unet_fit.SegmentSettings(**self.settings), self.preprocessing.channels, 2).to(memory_format=torch.channels_last)
        self.net.precision = machine.best_precision()
    def train(self, clock, budget, check):
        way, plain = self, unet_fit._Rounds
        class Watched(plain):
            def after_batch(self):
                super().after_batch()
                if self.training: clock.tick()
            def after_epoch(self):
                super().after_epoch()
                way.net, way.epochs = self.learn.model, way.epochs + 1
                check(way)
        s = unet_fit.SegmentSettings(**dict(dict(target='distance', seconds=budget, seed=self.seed, precision=machine.best_precision()), **self.settings))
        unet_fit._Rounds = Watched
        try: self.net, _ = unet_fit.fit_segmenter(self.pixels, *(np.flatnonzero(self.split == k) for k in ('train', 'valid')), s)
        finally: unet_fit._Rounds = plain
    def maps(self, file):
        if self.config != self.epochs: self.config, self.ask = self.epochs, unet_fit.predictor(self.net)
        return unet_fit.predict_maps(self.ask, segmentation._image(file, self.preprocessing))
    predict = maps
    def optimizer(self): return Adam([list(self.net.parameters())], lr=1e-4, wd=.01)

class Fastai:
    def __init__(self, table, a, seed=0, classes=2):
        from fastai.vision import all as v
        self.v, self.epochs, self.rate, self.df = v, 0, a.rates['fastai'], table.assign(is_valid=table['split'] == 'valid')
        seed_all(seed)
        block = v.DataBlock((v.ImageBlock, v.MaskBlock(['background', 'nucleus', 'inside'][:classes])), get_x=v.ColReader('image'), get_y=v.ColReader(f'mask{classes}'), splitter=v.ColSplitter(),
                            item_tfms=v.RandomCrop(CROP), batch_tfms=[*v.aug_transforms(flip_vert=True), v.Normalize.from_stats(*v.imagenet_stats)])
        self.dls = block.dataloaders(self.df, bs=BATCH, path=a.out, num_workers=a.workers)
        self.learn = v.unet_learner(self.dls, v.resnet18, pretrained=False, n_out=classes, metrics=v.DiceMulti())
        self.net, self.bare_loss = self.learn.model, lambda p, y: self.learn.loss_func(p, y)
    def train(self, clock, budget, check):
        v, way = self.v, self
        class Timed(v.Callback):
            "The schedule by the clock."
            order = 55
            def before_batch(self):
                if self.training: self.learn.pct_train = min(clock.seconds/budget, 1.)
            def after_batch(self):
                if self.training:
                    clock.tick()
                    if clock.seconds > budget: raise v.CancelFitException
            def after_epoch(self): way.epochs += 1; check(way)
        with self.learn.no_bar(), self.learn.no_logging(): self.learn.fit_one_cycle(100_000, self.rate, cbs=Timed())
        check(self)
    def _dl(self, file):
        dl = self.dls.test_dl(self.df.iloc[:1].assign(image=str(file)), bs=1, num_workers=0)
        dl.after_item = self.v.Pipeline([self.v.ToTensor()])  # whole, not the middle
        return dl
    def maps(self, file):
        self.net.eval()
        with torch.inference_mode(): return seeded(self.net(torch.Tensor(self._dl(file).one_batch()[0])).softmax(1)[0].numpy())
    def predict(self, file):
        with self.learn.no_bar(), self.learn.no_logging(): return seeded(self.learn.get_preds(dl=self._dl(file))[0][0].numpy())
    def optimizer(self): self.learn.create_opt(); return self.learn.opt

class Loop:
    "Training as the tutorials write it."
    def train(self, clock, budget, check):
        opt = self.optimizer()
        while True:
            self.net.train()
            for x, y in self.batches():
                for g in opt.param_groups: g['lr'] = self.rate_at(min(clock.seconds/budget, 1.))
                opt.zero_grad()
                self.bare_loss(self.net(x), y).backward()
                opt.step()
                clock.tick()
                if clock.seconds > budget: return check(self)
            self.epochs += 1
            check(self)
    def optimizer(self): return torch.optim.Adam(self.net.parameters(), self.rate)
    def predict(self, file): return self.maps(file)

class Smp(Loop):
    def __init__(self, table, a, seed=0, classes=2):
        import albumentations as A, cv2, segmentation_models_pytorch as smp
        from albumentations.pytorch import ToTensorV2
        from torch.utils.data import DataLoader, Dataset
        seed_all(seed)
        rows, end = table[table['split'] == 'train'], [A.Normalize(), ToTensorV2()]
        images, masks, binary = list(rows['image']), list(rows[f'mask{classes}']), classes == 2
        change = A.Compose([A.RandomCrop(CROP, CROP), A.HorizontalFlip(p=.5), A.VerticalFlip(p=.5), A.RandomRotate90(p=.5), A.ShiftScaleRotate(shift_limit=.05, scale_limit=.1, rotate_limit=15, p=.5),
                            A.RandomBrightnessContrast(p=.5), *end], seed=seed)
        class Files(Dataset):
            def __len__(self): return len(images)
            def __getitem__(self, i):
                d = change(image=cv2.cvtColor(cv2.imread(images[i]), cv2.COLOR_BGR2RGB), mask=cv2.imread(masks[i], cv2.IMREAD_GRAYSCALE))
                return d['image'], d['mask'].long()
        self.cv2, self.epochs, self.rate = cv2, 0, a.rates['smp']
        self.dl = DataLoader(Files(), BATCH, shuffle=True, drop_last=True, num_workers=a.workers)
        self.whole = A.Compose([A.PadIfNeeded(min_height=None, min_width=None, pad_height_divisor=32, pad_width_divisor=32, position='top_left', border_mode=cv2.BORDER_REFLECT_101), *end])
        self.net = smp.Unet('resnet18', encoder_weights=None, in_channels=3, classes=1 if binary else classes)
        self.bare_loss = smp.losses.DiceLoss('binary' if binary else 'multiclass', from_logits=True)
    def batches(self): return self.dl
    def rate_at(self, part): return 1e-5 + (self.rate - 1e-5)*(1 + math.cos(math.pi*part))/2
    def maps(self, file):
        im = self.cv2.cvtColor(self.cv2.imread(str(file)), self.cv2.COLOR_BGR2RGB)
        self.net.eval()
        with torch.inference_mode():
            p = self.net(self.whole(image=im)['image'][None])[0, :, :im.shape[0], :im.shape[1]]
            return p.sigmoid().numpy() if len(p) == 1 else seeded(p.softmax(0).numpy())

class Monai(Loop):
    def __init__(self, table, a, seed=0, classes=2):
        from monai import transforms as T
        from monai.data import CacheDataset, DataLoader, PILReader, list_data_collate
        from monai.inferers import sliding_window_inference
        from monai.losses import DiceCELoss
        from monai.networks.nets import BasicUNet
        from monai.utils import set_determinism
        seed_all(seed)
        set_determinism(seed); torch.use_deterministic_algorithms(False)  # of it only the seed
        both, rows = ['image', 'label'], table[table['split'] == 'train']
        rgb, grey = (PILReader(converter=lambda im, m=m: im.convert(m)) for m in ('RGB', 'L'))
        read = [T.LoadImaged(['image'], reader=rgb), T.EnsureChannelFirstd(['image']), T.ScaleIntensityd(['image'])]
        change = T.Compose([*read, T.LoadImaged(['label'], reader=grey), T.EnsureChannelFirstd(['label']),
            T.RandCropByPosNegLabeld(both, label_key='label', spatial_size=(CROP, CROP), pos=1, neg=1, num_samples=4),
            T.RandFlipd(both, .5, 0), T.RandFlipd(both, .5, 1), T.RandRotate90d(both, .5)]).set_random_state(seed)
        files = [dict(image=i, label=m) for i, m in zip(rows['image'], rows[f'mask{classes}'])]
        self.dl = DataLoader(CacheDataset(files, change, num_workers=a.workers, progress=False), batch_size=BATCH//4, shuffle=True, num_workers=a.workers, collate_fn=list_data_collate)
        self.read, self.slide, self.epochs, self.rate = T.Compose(read), sliding_window_inference, 0, a.rates['monai']
        self.net = BasicUNet(spatial_dims=2, in_channels=3, out_channels=classes)
        loss = DiceCELoss(to_onehot_y=True, softmax=True)
        self.bare_loss = lambda p, y: loss(p, y if y.ndim == 4 else y[:, None])
    def batches(self): return ((b['image'], b['label']) for b in self.dl)
    def rate_at(self, part): return self.rate
    def maps(self, file):
        self.net.eval()
        with torch.inference_mode():
            p = self.slide(self.read(dict(image=str(file)))['image'][None], (CROP, CROP), 4, self.net).as_tensor()
            return seeded(p.softmax(1)[0].numpy().transpose(0, 2, 1))  # MONAI puts x first

WAYS = dict(cytokit=Cytokit, fastai=Fastai, smp=Smp, monai=Monai)
def build(method, table, a, seed=0): return WAYS[method.partition('+')[0]](table, a, seed=seed, classes=3 if method.endswith('+rim') else 2)
def n_parameters(net): return sum(p.numel() for p in net.parameters())

def dice_of(way, valid): return float(np.mean([dice(t > 0, (way.maps(f)[0] > .5).astype('i4')) for f, t in valid]))

def valid_of(table, part='valid'): return [(i, labels_of(t)) for i, t in table.loc[table['split'] == part, ['image', 'target']].itertuples(index=False)]

# %% quality
class Best:
    "Keeps the weights of the best check, as MONAI's tutorials do; the clock stands still meanwhile."
    def __init__(self, clock, budget, valid): self.clock, self.budget, self.valid, self.next, self.best, self.state = clock, budget, valid, budget/15, -1., None
    def __call__(self, way):
        if self.clock.seconds < min(self.next, self.budget): return
        self.next = self.clock.seconds + self.budget/15
        with self.clock.pause():
            d = dice_of(way, self.valid)
            if d > self.best: self.best, self.state = d, copy.deepcopy(way.net.state_dict())

def train_peer(method, table, a, seed, folder):
    seed_all(seed)
    way, valid = build(method, table, a, seed), valid_of(table)
    clock, budget = Clock(), 60*a.minutes
    check = Best(clock, budget, valid) if method.startswith('monai') else lambda way: None
    way.train(clock, budget, check)
    if method.startswith('monai') and check.state: way.net.load_state_dict(check.state)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(way.net.state_dict(), folder/'net.pt')
    split, _ = tune_instances([way.maps(f) for f, _ in valid], [t for _, t in valid])
    write_json(folder/'run.json', dict(seconds=clock.ticks[-1], steps=len(clock.ticks), epochs=way.epochs, parameters=n_parameters(way.net), split={method: vars(split)}))

def train_kit(table, a, seed, folder):
    "The command itself."
    run = folder/'run'
    r = segmentation.run_segment(run) if (run/'run.json').exists() else segmentation.segment(table[['image', 'target', 'split']], out=run, seed=seed, **dict(dict(seconds=56*a.minutes), **a.settings))  # of 60: it may take some per cent more than it was asked for
    valid = valid_of(table)
    one, _ = tune_instances([r.maps(f)[:1] for f, _ in valid], [t for _, t in valid])
    write_json(folder/'run.json', dict(seconds=r.result['train_seconds'], steps=None, epochs=r.result['epochs'], parameters=r.result['n_parameters'],
               split={'cytokit': r.result['instance_params'], EIGHT: r.result['instance_params'], 'cytokit, one map': vars(one)}))

def scored(method, table, a, seed, folder):
    "Rows of each image: {name: records of objects and pixels}."
    path = folder/f'{a.part}.json'
    if path.exists(): return read_json(path)
    d = read_json(folder/'run.json')
    if method == 'cytokit': way = segmentation.Segmentation(folder/'run')
    else:
        way = build(method, table, a, seed)
        way.net.load_state_dict(torch.load(folder/'net.pt'))
    got = {n: [] for n in d['split']}
    files = valid_of(nuclei('test', a.few), 'test') if a.part == 'test' else valid_of(table)
    for f, t in files:
        plain = way.maps(f)
        for n, s in d['split'].items():
            m = way.maps(f, True)[0] if n == EIGHT else plain[:1] if n.endswith('one map') else plain
            got[n].append((t, separate_instances(m, InstanceParams(**s)), m[0] > .5))
    names = [Path(f).name for f, _ in files]
    pixels = lambda p, k: score_pixels([(t[0] > 0, t[k] > 0) for t in p], names).to_dict('records')
    out = {n: dict(objects=score_objects([t[:2] for t in p], names).to_dict('records'), pixels=pixels(p, 1), map=pixels(p, 2)) for n, p in got.items()}
    write_json(path, out)
    return out

def folder_of(method, a, seed): return a.out/'quality'/f'{method}{a.tag(method)}_{a.minutes:g}m_{seed}'

def quality(a):
    table, tables, runs = with_masks(nuclei('train', a.few), a.out), {}, {}
    for seed in range(a.seeds):
        for method in a.ways:
            f = folder_of(method, a, seed)
            if not (f/'run.json').exists():
                if a.part == 'test': raise SystemExit(f'{f}: not trained yet; first without --part test')
                train_kit(table, a, seed, f) if method == 'cytokit' else train_peer(method, table, a, seed, f)
            for n, rows in scored(method, table, a, seed, f).items(): tables.setdefault(n, []).append(rows)
            runs.setdefault(method, []).append(read_json(f/'run.json'))
            print(method, seed, {k: v for k, v in runs[method][-1].items() if k != 'split'}, flush=True)
    scores, gains = {n: {} for n in tables}, {k: {n: {} for n in tables if n != k} for k in ('cytokit', EIGHT) if k in tables}
    for s, part, score in [*((s, 'pixels' if s == 'dice' else 'objects', s) for s in SCORES), ('map_dice', 'map', 'dice')]:
        get = lambda n: [pd.DataFrame(t[part]) for t in tables[n]]
        for n in scores: scores[n][s] = vars(score_interval(get(n), score, 'images'))
        for k in gains:
            for n in gains[k]: gains[k][n][s] = vars(score_difference(get(k), get(n), score, 'images'))
    show = lambda d: f'{d["mean"]:+.3f} ({d["low"]:+.3f} to {d["high"]:+.3f})'
    print(pd.DataFrame({n: {s: show(v) for s, v in d.items()} for n, d in scores.items()}).T.to_string())
    for k, g in gains.items(): print(f'\n{k}, minus\n' + pd.DataFrame({n: {s: show(v) for s, v in d.items()} for n, d in g.items()}).T.to_string())
    name = a.part + (f', {a.threads} threads' if a.threads > 1 else '') + (f' {json.dumps(a.settings)}' if a.settings else '')
    return {name: dict(machine=where(a), minutes=a.minutes, seeds=a.seeds, images=len(next(iter(tables.values()))[0]['pixels']), runs=runs, scores=scores, cytokit_minus=gains.get('cytokit', {}), eight_minus=gains.get(EIGHT, {}))}

# %% step
HALVINGS = dict(fastai=5, smp=5, monai=4)

def equal_nets(method, n):
    "Our networks with about n parameters: one that halves the picture as often as the peer's (folding pixels 2 × 2 is one halving), and one of the shape of `base`."
    for name, shape in (('as deep as', dict(depth=HALVINGS[method] - 1)), ('base as large as', dict(preset='base'))):
        yield f'cytokit {name} {method}', shape | dict(width=min(range(16, 129, 16), key=lambda w: abs(math.log(n_parameters(unet(3, 2, **shape, width=w))/n))))

class Bare:
    "One step on a batch in memory."
    def __init__(self, net, loss, opt, ours):
        self.net, self.loss, self.opt = net.train(), loss, opt
        g = torch.Generator().manual_seed(0)
        self.x, self.y = torch.rand(BATCH, 3, CROP, CROP, generator=g), torch.randint(2, (BATCH, CROP, CROP), generator=g)
        if ours: self.x = self.x.contiguous(memory_format=torch.channels_last)
    def __call__(self):
        t = time.perf_counter()
        self.opt.zero_grad()
        self.loss(self.net(self.x), self.y).backward()
        self.opt.step()
        return time.perf_counter() - t

def step(a):
    table, methods = with_masks(nuclei('train', a.few), a.out), [w for w in a.ways if '+' not in w]
    with_data = {k: [] for k in methods}
    for _ in range(a.rounds):
        for k in methods:
            seed_all(0)
            way, clock = build(k, table, a), Clock()
            clock.until = a.seconds
            with contextlib.suppress(Enough): way.train(clock, 1800, lambda way: None)
            with_data[k].append(float(np.median((d := np.diff(clock.ticks))[min(3, len(d)//2):])))
    bare, spec = {}, {}
    ways = {k: build(k, table, a) for k in methods}
    def ours(net):
        net.precision = machine.best_precision()
        return Bare(net.to(memory_format=torch.channels_last), Cytokit.bare_loss, Adam([list(net.parameters())], lr=1e-4, wd=.01), True)
    for k, w in ways.items():
        if k == 'cytokit': bare[k], spec[k] = ours(w.net), a.settings or 'default'
        else:
            bare[k], spec[k] = Bare(w.net, w.bare_loss, w.optimizer(), False), None
            for name, shape in equal_nets(k, n_parameters(w.net)): bare[name], spec[name] = ours(unet(3, 2, **shape)), shape
    times = {k: [] for k in bare}
    with machine.keep_allocator_memory():  # for all alike
        for i in range(3 + a.repeats):
            for k, f in bare.items():
                t = f()
                if i >= 3: times[k].append(t)
    rows = {k: dict(parameters=n_parameters(f.net), network=spec[k], bare_ms=1e3*statistics.median(times[k]), with_data_ms=1e3*statistics.median(with_data[k]) if k in with_data else None) for k, f in bare.items()}
    for k in ways:
        if k != 'cytokit': rows[k] |= dict(as_deep=rows[k]['bare_ms']/rows[f'cytokit as deep as {k}']['bare_ms'], as_base=rows[k]['bare_ms']/rows[f'cytokit base as large as {k}']['bare_ms'], as_run=rows[k]['with_data_ms']/rows['cytokit']['with_data_ms'] if 'cytokit' in rows else None)
    print(pd.DataFrame(rows).T.to_string())
    print('as_deep, as_base (equal parameters) and as_run: how many times longer its step takes than ours')
    return dict(precision=machine.best_precision(), rounds=a.rounds, repeats=a.repeats, rows=rows)

# %% predict
def pictures(a, n, side):
    files = [a.out/f'picture{side}_{i}.png' for i in range(n)]
    for i, f in enumerate(files):
        if not f.exists(): Image.fromarray(mosaic(side, i)).save(f)
    return files

def predict(a):
    files, methods = pictures(a, a.pictures, a.picture_side), [w for w in a.ways if '+' not in w]
    table = with_masks(nuclei('train', 6), a.out)
    ways, times = {k: build(k, table, a) for k in methods}, {k: [] for k in methods}
    for i in range(-1, a.rounds):
        for f in files[:1] if i < 0 else files:
            for k, w in ways.items():
                t = time.perf_counter()
                m = w.predict(f)
                t = time.perf_counter() - t
                assert m.shape[1:] == (a.picture_side,)*2, (k, m.shape)
                if i >= 0: times[k].append(t)
    rows = {k: dict(megapixels_per_second=a.picture_side**2/1e6/statistics.median(t), seconds=statistics.median(t)) for k, t in times.items()}
    if 'cytokit' in rows:
        for k in rows: rows[k]['cytokit_times_faster'] = rows[k]['seconds']/rows['cytokit']['seconds']
    print(pd.DataFrame(rows).T.to_string())
    return dict(side=a.picture_side, pictures=a.pictures, rounds=a.rounds, precision=machine.best_precision(), rows=rows)

# %% target
def reach_target(method, table, a, seed, valid):
    "Seconds and Dice of each look, to the first that reaches the target."
    seed_all(seed)
    clock, looks = Clock(), []
    def check(way):
        at = clock.seconds
        with clock.pause():
            d = dice_of(way, valid)
            way.net.train()
        looks.append((at, d))
        if d >= a.dice: raise Enough('')
    way = build(method, table, a, seed)
    with contextlib.suppress(Enough): way.train(clock, 60*a.minutes, check)
    return dict(minutes=a.minutes, looks=looks, reached=looks[-1][0] if looks and looks[-1][1] >= a.dice else None, steps=len(clock.ticks))

def target(a):
    table, home = with_masks(nuclei('train', a.few), a.out), a.out/'target'
    valid, methods = valid_of(table), [w for w in a.ways if '+' not in w]
    valid = valid[::-(-len(valid)//a.look)] if a.look else valid
    home.mkdir(parents=True, exist_ok=True)
    path = lambda method, minutes, seed: home/f'{method}{a.tag(method)}_{minutes:g}m_{a.dice:g}_{len(valid)}_{seed}.json'
    for seed in range(a.seeds):
        for method in methods:
            if not (f := path(method, a.minutes, seed)).exists(): write_json(f, reach_target(method, table, a, seed, valid))
            d = read_json(f)
            print(method, seed, 'reached' if d['reached'] else 'not reached', d['reached'], 'last look', d['looks'][-1:], flush=True)
    rows, runs = {}, {}
    for method in methods:
        by = {}
        for f in sorted(home.glob(f'{method}{a.tag(method)}_*m_{a.dice:g}_{len(valid)}_*.json')): d = read_json(f); by.setdefault(d['minutes'], []).append(d)
        medians = {m: statistics.median(r['reached'] or math.inf for r in rs) for m, rs in by.items()}
        best = min(medians, key=medians.get)
        runs[method] = {f'{m:g}': rs for m, rs in by.items()}
        rows[method] = dict(seconds=medians[best] if math.isfinite(medians[best]) else None, schedule_minutes=best, seeds=len(by[best]), best_dice=max(l[1] for rs in by.values() for r in rs for l in r['looks']))
    peers = [r['seconds'] for k, r in rows.items() if k != 'cytokit' and r['seconds']]
    ratio = min(peers)/rows['cytokit']['seconds'] if peers and rows.get('cytokit', {}).get('seconds') else None
    print(pd.DataFrame(rows).T.to_string(), '\nbest peer / cytokit:', ratio)
    return dict(dice=a.dice, images=len(valid), rows=rows, ratio=ratio, runs=runs)

# %% memory: each in a process of its own
def alone(a, *words):
    "This script again; what it prints last is JSON."
    keep = ['--out', a.out, '--threads', a.threads, '--workers', a.workers, '--settings', json.dumps(a.settings), *(['--peers', a.peers] if a.peers else []), *(['--quick'] if a.quick else [])]
    got = subprocess.run([sys.executable, __file__, *map(str, words), *map(str, keep)], capture_output=True, text=True)
    if got.returncode: raise SystemExit(f'{words}: {got.stderr[-2000:]}')
    return json.loads(got.stdout.splitlines()[-1])

def memory_alone(method, what, a):
    table = with_masks(nuclei('train', a.few if what == 'train' else 6), a.out)
    machine.best_precision()
    files = pictures(a, 1, a.picture_side)
    build(method, table.groupby('split').head(BATCH).reset_index(drop=True), a)  # imports
    # Imported before anything is measured
    import cytokit.segmentation.tiling, skimage.segmentation, scipy.ndimage  # noqa: F401
    with peak() as held:
        way, clock = build(method, table, a), Clock()
        clock.until = a.memory_seconds
        if what == 'train':
            with contextlib.suppress(Enough): way.train(clock, 1800, lambda way: None)
        else:
            while clock.seconds < min(a.memory_seconds, 15) or len(clock.ticks) < 3: way.predict(files[0]); clock.ticks.append(clock.seconds)
    print(json.dumps(dict(mb=held.mb, own_mb=held.own, steps=len(clock.ticks))))

def memory(a):
    home, rows = a.out/'memory', {}
    home.mkdir(parents=True, exist_ok=True)
    for method in [w for w in a.ways if '+' not in w]:
        for what in ('train', 'predict'):
            f = home/f'{method}{a.tag(method)}_{what}.json'
            if not f.exists(): write_json(f, alone(a, '_memory', method, what))
            rows.setdefault(method, {}).update({f'{what}_{k}': v for k, v in read_json(f).items()})
    print(pd.DataFrame(rows).T.to_string())
    return dict(seconds=a.memory_seconds, side=a.picture_side, rows=rows)

# %% membranes
def membranes(a):
    "Membrane is the object: the labels of the source are dark there."
    src, home = SHARED/'isbi_membrane'/'train', a.out/'membranes'
    home.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, f in enumerate(sorted((src/'image').glob('*.png'))):
        m = home/f'{f.stem}.png'
        if not m.exists(): Image.fromarray((np.array(Image.open(src/'label'/f.name)) < 128).astype('u1')*255).save(m)
        rows.append(dict(image=str(f), target=str(m), block=i//6))
    table, seconds = pd.DataFrame(rows), 60*a.minutes/5
    pixels = {'unet': [], 'classical': []}
    for fold in range(1 if a.quick else 5):
        t = table.assign(split=np.where(table['block'] == fold, 'test', np.where(table['block'] == (fold + 1) % 5, 'valid', 'train'))).drop(columns='block')
        t.attrs = dict(name='membranes', root=str(src), task='mask')
        f = home/f'fold{fold}{a.tag("cytokit")}_{a.minutes:g}m_{a.target or "plain"}'
        if not (f/'test.json').exists():
            r = segmentation.run_segment(f) if (f/'run.json').exists() else segmentation.segment(t, out=f, kind='binary', **dict(dict(seconds=seconds), **a.settings))
            write_json(f/'test.json', {k: s[0].to_dict('records') for k, s in r.evaluate().scored.items()})
        for k, v in read_json(f/'test.json').items(): pixels[k].append(pd.DataFrame(v).assign(group=fold))
    pixels = {k: pd.concat(v, ignore_index=True) for k, v in pixels.items()}
    scores = {k: {s: vars(score_interval(v, s, 'images')) for s in ('dice', 'iou')} for k, v in pixels.items()}
    gain = vars(score_difference(pixels['unet'], pixels['classical'], 'dice', 'images'))
    for k, d in scores.items(): print(k, {s: f'{v["mean"]:.3f} ({v["low"]:.3f} to {v["high"]:.3f})' for s, v in d.items()})
    print('Dice, UNet minus classical:', {k: round(gain[k], 3) for k in ('mean', 'low', 'high')}, 'over', gain['n_groups'], 'blocks of', gain['n_images'], 'slices')
    return dict(seconds_a_fold=seconds, scores=scores, unet_minus_classical=gain)

# %% targets
def targets(a):
    table, home, objects, pixels = nuclei('train', a.few), a.out/'targets', {}, {}
    for seed in range(a.seeds):
        for kind in ('foreground', 'border', 'distance'):
            f = home/f'{kind}{a.tag("cytokit")}_{a.minutes:g}m_{seed}'
            r = segmentation.run_segment(f) if (f/'run.json').exists() else segmentation.segment(table, out=f, seed=seed, **dict(dict(seconds=60*a.minutes), **a.settings, target=kind))
            if not (f/'valid.json').exists():
                files = valid_of(table)
                got, names = [(t, r.objects(i)) for i, t in files], [Path(i).name for i, _ in files]
                write_json(f/'valid.json', dict(objects=score_objects(got, names).to_dict('records'), pixels=score_pixels([(t > 0, p > 0) for t, p in got], names).to_dict('records')))
            d = read_json(f/'valid.json')
            objects.setdefault(kind, []).append(pd.DataFrame(d['objects'])); pixels.setdefault(kind, []).append(pd.DataFrame(d['pixels']))
    get = lambda k, s: (pixels if s == 'dice' else objects)[k]
    scores = {k: {s: vars(score_interval(get(k, s), s, 'images')) for s in SCORES} for k in objects}
    gains = {k: {s: vars(score_difference(get('distance', s), get(k, s), s, 'images')) for s in SCORES} for k in objects if k != 'distance'}
    show = lambda d: f'{d["mean"]:+.3f} ({d["low"]:+.3f} to {d["high"]:+.3f})'
    print(pd.DataFrame({k: {s: show(v) for s, v in d.items()} for k, d in scores.items()}).T.to_string(), '\ndistance minus')
    print(pd.DataFrame({k: {s: show(v) for s, v in d.items()} for k, d in gains.items()}).T.to_string())
    return dict(minutes=a.minutes, seeds=a.seeds, scores=scores, distance_minus=gains)

# %% large
def large_alone(run, picture, a):
    base, t = machine.held_memory(), time.perf_counter()
    with peak() as held: got = segmentation.Segmentation(run).predict([picture], Path(a.out)/'large')
    print(json.dumps(dict(base_mb=base/1e6, peak_mb=machine.peak_memory()/1e6, own_beyond_base_mb=held.own, seconds=time.perf_counter() - t, objects=int(got['objects'].iloc[0]))))

def large(a):
    import tifffile
    picture, run = a.out/f'large{a.side}.tif', folder_of('cytokit', a, 0)/'run'
    if not picture.exists():
        block = mosaic(4096 if a.side > 4096 else 1024)
        n, k = block.shape[0]//256, -(-a.side//256)
        tifffile.imwrite(part := picture.with_suffix('.part.tif'), (block[y % n*256:y % n*256 + 256, x % n*256:x % n*256 + 256] for y in range(k) for x in range(k)), shape=(a.side, a.side, 3), dtype='u1', tile=(256, 256), photometric='rgb')
        part.rename(picture)
    if not (run/'result.json').exists(): run = a.out/'large_run'
    if not (run/'result.json').exists(): segmentation.segment(nuclei('train', 6), out=run, seconds=a.seconds)
    d = alone(a, '_large', run, picture)
    d |= dict(side=a.side, megapixels_per_second=a.side**2/1e6/d['seconds'], network=run.parent.name, under_2_gb=d['peak_mb'] < 2000)
    print(json.dumps(d, indent=1))
    return d

# %% All
PARTS = dict(quality=quality, step=step, predict=predict, target=target, memory=memory, membranes=membranes, targets=targets, large=large)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('parts', nargs='+', help=f'{", ".join(PARTS)}, or all')
    p.add_argument('--peers', help='folder with the peers; without it only cytokit and fastai')
    p.add_argument('--ways', nargs='+', choices=METHODS, default=list(METHODS))
    p.add_argument('--out', type=Path, default=Path('runs')/'segmentation')
    p.add_argument('--part', choices=('valid', 'test'), default='valid', help='of quality; test only at the very end')
    p.add_argument('--minutes', type=float, default=30, help='budget of a training')
    p.add_argument('--seeds', type=int, default=1)
    p.add_argument('--dice', type=float, default=.85, help='of target')
    p.add_argument('--look', type=int, help='of target: about so many of the validation images, evenly spread; all if left out (80 of them take fastai minutes an epoch)')
    p.add_argument('--side', type=int, default=10_000, help='of large')
    p.add_argument('--threads', type=int, default=2)
    p.add_argument('--workers', type=int, default=2)
    p.add_argument('--settings', type=json.loads, default={}, help='JSON, for cytokit, beyond its defaults')
    p.add_argument('--rate', nargs='*', default=[], metavar='WAY=RATE', help='learning rate of a peer instead of its own')
    p.add_argument('--quick', action='store_true', help='seconds, few small images: only to see that it runs')
    a = p.parse_args()
    set_quiet()
    warnings.filterwarnings('ignore')
    torch.set_num_threads(a.threads)
    a.rates = RATES | {k: float(v) for k, v in (r.split('=') for r in a.rate)}
    a.target = a.settings.get('target')
    a.tag = lambda method: f'_{digest(a.settings)[:6]}' if method == 'cytokit' and a.settings else f'_{a.rates[n]:g}' if (n := method.partition('+')[0]) in RATES and a.rates[n] != RATES[n] else ''
    a.few, a.rounds, a.repeats, a.seconds, a.memory_seconds, a.pictures, a.picture_side = (6, 1, 3, 4, 4, 1, 512) if a.quick else (None, 5, 30, 20, 60, 6, 1024)
    if a.quick: a.minutes, a.dice, a.side = min(a.minutes, .1), min(a.dice, .5), min(a.side, 4200)
    if a.quick and a.out == Path('runs')/'segmentation': a.out = Path('runs')/'segmentation_quick'
    a.out = a.out.resolve()
    a.out.mkdir(parents=True, exist_ok=True)
    os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'
    os.environ['CYTOKIT_CACHE'] = str(a.out/'cache')
    if a.peers: sys.path.append(a.peers)
    else: a.ways = [w for w in a.ways if w.partition('+')[0] in ('cytokit', 'fastai')]
    if a.parts[0] == '_memory': memory_alone(*a.parts[1:], a)
    elif a.parts[0] == '_large': large_alone(*a.parts[1:], a)
    else:
        for part in PARTS if a.parts == ['all'] else a.parts:
            if part not in PARTS: p.error(f'no part {part}')
            print(f'\n== {part}', flush=True)
            got, f = PARTS[part](a), a.out/'quick.json' if a.quick else HERE/'results'/'segmentation.json'
            d = read_json(f) if f.exists() else {}
            write_json(f, d | {part: d.get(part, {}) | got if part == 'quality' else dict(machine=where(a)) | got})
