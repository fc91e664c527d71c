"""Healthy trainings of many kinds, as people write them, small enough for a test.

`PROGRAMS[name](seed)` gives the parts of a program, in which a fault can be planted (see `faults.py`);
`build(program)` puts them together as the objects that a user's notebook would hold."""
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

PROGRAMS = {}

def program(make):
    PROGRAMS[make.__name__] = make
    return make

# %% The parts of a program, and the program
@dataclass
class Program:
    "What a user has written, before it runs. A fault changes one part of it."
    name:str
    task:str # 'classes', 'binary', 'labels', 'number', 'mask' or 'mask classes'
    data:dict # 'train', 'valid' and 'test' to [x, y]; 'test' stands for the images of later, with true targets
    model:nn.Module
    loss:object # Module or function of (output, target)
    make_optimizer:object # (parameters, lr) to an optimiser
    lr:float
    epochs:int
    batch_size:int = 16
    shuffle:bool = True
    augment:object = None # Function of one image, or of image and mask
    loop:object = None # Epoch function (model, loader, loss, optimizer); None: `train_epoch`
    judge:object = None # Validation function (model, loader, loss); None: `valid_epoch`
    parameters:object = None # Model to what the optimiser is given; None: all that need a gradient
    train_loader:object = None # Function of the program; None: a plain `DataLoader`
    valid_loader:object = None # Function without arguments; None: a plain `DataLoader`
    has_validation:bool = True
    kind:str = 'torch' # 'torch', 'fastai' or 'run'
    settings:dict = field(default_factory=dict) # For 'run'
    shows_loop:bool = True # Whether the doctor is given the loop, or only the parts

class Pictures(Dataset):
    "Images and targets in memory, one by one, as a student's data set gives them."
    def __init__(self, x, y, augment=None, on_mask=False):
        self.x, self.y, self.augment, self.on_mask = x, y, augment, on_mask

    def __len__(self): return len(self.x)

    def __getitem__(self, i):
        x, y = self.x[i], self.y[i]
        if self.augment is None: return x, y
        if self.on_mask: return self.augment(x, y)
        return self.augment(x), y

def train_epoch(model, loader, loss, optimizer):
    "One pass over the training images."
    model.train()
    total = 0.
    for x, y in loader:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        total += value.item()
    return total/len(loader)

def valid_epoch(model, loader, loss):
    "Mean loss on the validation images."
    model.eval()
    with torch.no_grad(): values = [loss(model(x), y).item() for x, y in loader]
    return sum(values)/len(values)

def needing_gradient(model): return [p for p in model.parameters() if p.requires_grad]

def build(p, folder=None):
    "The objects of the program: model, loss, optimizer, train_loader, valid_loader, train, and learner or run folder."
    if p.kind == 'run': return build_run(p, folder)
    on_mask = p.task.startswith('mask')
    x, y = p.data['train']
    if p.train_loader: train_loader = p.train_loader(p)
    else: train_loader = DataLoader(Pictures(x, y, p.augment, on_mask), p.batch_size, shuffle=p.shuffle)
    if p.valid_loader: valid_loader = p.valid_loader()
    else: valid_loader = DataLoader(Pictures(*p.data['valid']), 64) if p.has_validation else None
    t = SimpleNamespace(program=p, model=p.model, loss=p.loss, train_loader=train_loader, valid_loader=valid_loader,
                        learner=None, folder=None, train=p.loop or train_epoch, validate=p.judge or valid_epoch)
    if p.kind == 'fastai': return build_learner(p, t)
    t.optimizer = p.make_optimizer((p.parameters or needing_gradient)(p.model), p.lr)
    return t

def build_learner(p, t):
    "A fastai Learner of the same parts."
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    dls = DataLoaders(t.train_loader, t.valid_loader, device='cpu')
    t.learner = Learner(dls, p.model, loss_func=p.loss, lr=p.lr, cbs=[])
    t.optimizer = None
    return t

def build_run(p, folder):
    "A finished run of `cytokit.train` on PNG files, as its table says."
    import pandas as pd
    from cytokit.training.fit import train
    (folder/'images').mkdir(parents=True)
    rows = [write_png(folder, f'{part} {i:04d}', part, x, y)
            for part in ('train', 'valid') for i, (x, y) in enumerate(zip(*p.data[part]))]
    pd.DataFrame(rows).to_csv(folder/'images'/'table.csv', index=False)
    s = dict(epochs=p.epochs, lr=p.lr, batch_size=p.batch_size, augment='flips') | p.settings
    run = train(folder/'images', out=folder/'run', preprocessing=small_pictures(), **s)
    return SimpleNamespace(program=p, learner=None, folder=run.folder, run=run)

def write_png(folder, name, part, x, y):
    "One standardised image as a PNG file; its row of the table."
    from PIL import Image
    grey = ((x[0]*.2 + .3).clip(0, 1)*255).numpy().astype('u1')
    file = folder/'images'/f'{name}.png'
    Image.fromarray(grey).save(file)
    return dict(image=file.name, target=f'class {"abcdefgh"[int(y)]}', split=part)

def small_pictures():
    from cytokit.data.preprocess import Preprocessing
    return Preprocessing(size=32)

# %% How good it is
def balanced(predicted, y):
    "Mean over the classes of the share that is right."
    return float(np.mean([float((predicted[y == k] == k).float().mean()) for k in y.unique()]))

def auc(scores, y):
    from sklearn.metrics import roc_auc_score
    return float(roc_auc_score(y.numpy(), scores.numpy()))

def dice(predicted, y):
    return float(2*(predicted & y).sum()/max(1, int(predicted.sum() + y.sum())))

def quality(task, out, y):
    "Score of the outputs for true targets: 1 is perfect; a model that gives no finite number gets 0."
    if not torch.isfinite(out).all(): return 0.
    if task == 'classes': return balanced(out.argmax(1), y)
    if task == 'binary': return auc(out.flatten(), y.flatten())
    if task == 'labels': return float(np.mean([auc(out[:, k], y[:, k]) for k in range(y.shape[1])]))
    if task == 'number': return max(0., 1 - float(((out.flatten() - y.flatten())**2).mean()/y.var()))
    if task == 'mask': return dice(out > 0, y > .5)
    return float(np.mean([dice(out.argmax(1) == k, y == k) for k in range(1, out.shape[1])]))

def score(model, task, x, y):
    "The quality on images that the training never saw."
    model.eval()
    with torch.no_grad(): return quality(task, model(x).float(), y)

CHANCE = dict(binary=.5, labels=.5, number=0., mask=.25)

def baseline(p):
    "What a program reaches that has learned nothing."
    if p.task == 'classes': return 1/len(p.data['test'][1].unique())
    return CHANCE.get(p.task, .2)

def learn(t, epochs=None):
    "Train as the user would; the score on the test images after each epoch. A program that stops with an error gets 0."
    p, scores = t.program, []
    x, y = p.data['test']
    try:
        if t.folder: return [run_score(t)]
        for _ in range(epochs or p.epochs):
            if t.learner: fit_quietly(t.learner)
            else: t.train(t.model, t.train_loader, t.loss, t.optimizer)
            scores.append(score(t.model, p.task, x, y))
    except (RuntimeError, IndexError, ValueError, TypeError): return [0.]
    return scores

def fit_quietly(learner):
    import fastai.callback.progress  # noqa: F401  `no_bar`
    with learner.no_bar(), learner.no_logging(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        learner.fit(1)

def run_score(t):
    "Balanced accuracy of a run on new files."
    x, y = t.program.data['test']
    rows = [write_png(t.folder.parent, f'later {i:04d}', 'test', a, b) for i, (a, b) in enumerate(zip(x, y))]
    found = t.run.predict([t.folder.parent/'images'/row['image'] for row in rows])
    right = np.array([row['target'] for row in rows]) == found['predicted'].to_numpy()
    return float(np.mean([right[y.numpy() == k].mean() for k in y.unique().numpy()]))

# %% Images
def standardised(x): return (x - x.mean())/x.std()

def split(x, y, n_train, n_valid, n_test, seed):
    "Three parts without overlap."
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    ends = np.cumsum([n_train, n_valid, n_test])
    parts = [order[a:b] for a, b in zip([0, *ends[:-1]], ends)]
    return {name: [x[k].clone(), y[k].clone()] for name, k in zip(('train', 'valid', 'test'), parts)}

def digits(seed, n_classes=10, n_train=300):
    "Handwritten digits (scikit-learn) at 32 pixels."
    from sklearn.datasets import load_digits
    d = load_digits()
    keep = d.target < n_classes
    x = torch.tensor(d.images[keep], dtype=torch.float32)[:, None]/16
    x = F.interpolate(x, (32, 32), mode='bilinear')
    return split((x - .3)/.35, torch.tensor(d.target[keep]), n_train, 150, 300, seed)

def draw_things(n, seed, size=32, most=3, kinds=3, colour=False):
    "Pictures (N, C, S, S) with discs, rings and squares on noise; masks of each kind (N, kinds, S, S)."
    r = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size].astype('f4')
    tint = np.float32([[1, .2, .2], [.2, 1, .2], [.2, .2, 1]]) if colour else np.ones((3, 1), 'f4')
    x = r.normal(0, .25, (n, tint.shape[1], size, size)).astype('f4')
    masks = np.zeros((n, kinds, size, size), 'f4')
    for i in range(n):
        for _ in range(r.integers(1, most + 1)):
            kind, (cy, cx), radius = r.integers(kinds), r.uniform(5, size - 5, 2), r.uniform(3, 6)
            far = np.hypot(yy - cy, xx - cx)
            if kind == 2: inside = np.maximum(abs(yy - cy), abs(xx - cx)) < radius*.8
            else: inside = (far < radius) & ((far > radius*.55) if kind == 1 else True)
            masks[i, :, inside] = 0
            masks[i, kind, inside] = 1
        light = r.uniform(.8, 1.4)
        x[i] += np.einsum('kyx,kc->cyx', masks[i], tint[:kinds])*light
    return torch.tensor(x), torch.tensor(masks)

def things(seed, target, parts=(256, 96, 160), **options):
    "The drawn pictures, standardised, with what `target` makes of the masks."
    x, masks = draw_things(sum(parts), 1000 + seed, **options)
    return split(standardised(x), target(masks), *parts, seed)

def shifted(x):
    "Moved by up to two pixels."
    dy, dx = np.random.randint(-2, 3, 2)
    return torch.roll(x, (int(dy), int(dx)), (-2, -1))

def flipped(x): return x.flip(-1) if np.random.rand() < .5 else x

def flipped_both(x, y): return (x.flip(-1), y.flip(-1)) if np.random.rand() < .5 else (x, y)

def brightened(x): return x*np.float32(np.random.uniform(.9, 1.1)) + np.float32(np.random.uniform(-.1, .1))

# %% Networks
def block(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))

def small_cnn(n_in, n_out):
    return nn.Sequential(block(n_in, 8), block(8, 16), block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(32, n_out))

class OldCNN(nn.Module):
    "A CNN without normalisation, as in the first tutorials."
    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(n_in, 12, 5, padding=2), nn.Conv2d(12, 24, 5, padding=2)
        self.act1, self.act2, self.act3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.drop = nn.Dropout(.2)
        self.fc1, self.fc2 = nn.Linear(24*8*8, 48), nn.Linear(48, n_out)

    def forward(self, x):
        x = F.max_pool2d(self.act1(self.conv1(x)), 2)
        x = F.max_pool2d(self.act2(self.conv2(x)), 2)
        return self.fc2(self.drop(self.act3(self.fc1(x.flatten(1)))))

class UNet(nn.Module):
    "Two levels down and up."
    def __init__(self, n_in, n_out, width=8):
        super().__init__()
        def twice(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(),
                                 nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.down1, self.down2, self.middle = twice(n_in, width), twice(width, 2*width), twice(2*width, 2*width)
        self.up2, self.up1 = twice(4*width, width), twice(2*width, width)
        self.last = nn.Conv2d(width, n_out, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        c = self.up2(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        c = self.up1(torch.cat([F.interpolate(c, scale_factor=2), a], 1))
        return self.last(c)

class Rows(nn.Module):
    "A recurrent network that reads an image row by row."
    def __init__(self, n_out):
        super().__init__()
        self.rnn, self.head = nn.GRU(32, 48, batch_first=True), nn.Linear(48, n_out)

    def forward(self, x): return self.head(self.rnn(x[:, 0])[0][:, -1])

def pretrained(n_out):
    "timm's test_resnet with the weights that travel in cytokit, behind its usual name for the head."
    from cytokit.training.models import backbone
    net = backbone(None, 3, n_out, weights='textures')
    return nn.Sequential(net.body.net, nn.Linear(net.head.in_features, n_out))

# %% Losses
class DiceBCE(nn.Module):
    "Binary cross-entropy plus 1 − Dice, of logits."
    def forward(self, out, y):
        p = out.sigmoid()
        overlap, total = (p*y).sum((1, 2, 3)), (p + y).sum((1, 2, 3))
        return F.binary_cross_entropy_with_logits(out, y) + 1 - ((2*overlap + 1)/(total + 1)).mean()

def with_adam(parameters, lr): return torch.optim.Adam(parameters, lr=lr)
def with_adamw(parameters, lr): return torch.optim.AdamW(parameters, lr=lr, weight_decay=.01)
def with_sgd(parameters, lr): return torch.optim.SGD(parameters, lr=lr, momentum=.9, weight_decay=1e-4)

# %% The healthy programs; a seed also varies batch size and learning rate
def varied(seed, batch_size, lr):
    r = np.random.default_rng([7, seed])
    if not seed: return dict(batch_size=batch_size, lr=lr)
    return dict(batch_size=int(batch_size*r.choice([1, 2])), lr=float(lr*2**r.uniform(-.7, .7)))

@program
def cnn(seed=0):
    "Digits by a small CNN with batch norm, from scratch."
    torch.manual_seed(seed)
    return Program('cnn', 'classes', digits(seed, 6), small_cnn(1, 6), nn.CrossEntropyLoss(), with_adamw, epochs=8,
                   augment=shifted, **varied(seed, 16, 3e-3))

@program
def plain(seed=0):
    "Digits by a CNN without normalisation, SGD, log-softmax and NLLLoss: the loop of many tutorials."
    torch.manual_seed(seed)
    model = nn.Sequential(OldCNN(1, 10), nn.LogSoftmax(1))
    return Program('plain', 'classes', digits(seed), model, nn.NLLLoss(), with_sgd, epochs=10, augment=shifted,
                   **varied(seed, 16, .02))

@program
def binary(seed=0):
    "Is there a ring? One output and BCEWithLogitsLoss."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m[:, 1].amax((1, 2))[:, None], (320, 96, 160), kinds=2, most=1)
    return Program('binary', 'binary', data, OldCNN(1, 1), nn.BCEWithLogitsLoss(), with_adam, epochs=8,
                   augment=flipped, **varied(seed, 16, 1e-3))

@program
def finetuned(seed=0):
    "A pretrained timm network, all of it trained, on colour pictures."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax((2, 3)).argmax(1), (160, 80, 160), most=1, colour=True)
    return Program('finetuned', 'classes', data, pretrained(3), nn.CrossEntropyLoss(), with_adamw, epochs=6,
                   augment=flipped, **varied(seed, 16, 1e-3))

@program
def frozen(seed=0):
    "A pretrained timm network whose body stays as it is; only the head learns."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax((2, 3)).argmax(1), (160, 80, 160), most=1, colour=True)
    model = pretrained(3)
    model[0].requires_grad_(False)
    return Program('frozen', 'classes', data, model, nn.CrossEntropyLoss(), with_adam, epochs=8,
                   augment=flipped, loop=train_head, **varied(seed, 16, 5e-3))

def train_head(model, loader, loss, optimizer):
    "One pass; the frozen body stays in evaluation mode."
    model.eval()
    model[1].train()
    for x, y in loader:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

@program
def unet(seed=0):
    "Foreground by a UNet, Dice and BCE."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax(1, keepdim=True), (128, 48, 96))
    return Program('unet', 'mask', data, UNet(1, 1), DiceBCE(), with_adam, epochs=6, batch_size=8,
                   lr=varied(seed, 8, 3e-3)['lr'], augment=flipped_both)

@program
def unet_bce(seed=0):
    "Foreground of real nuclei, or drawn ones where they are missing, by a UNet with BCE."
    torch.manual_seed(seed)
    data = nuclei(seed) or things(seed, lambda m: m.amax(1, keepdim=True), (96, 48, 96), kinds=1)
    return Program('unet_bce', 'mask', data, UNet(1, 1), nn.BCEWithLogitsLoss(), with_adamw, epochs=8, batch_size=8,
                   lr=varied(seed, 8, 3e-3)['lr'], augment=flipped_both)

def nuclei(seed, size=32, n=192):
    "Crops of BBBC038, grey, each standardised, and their masks; None where the shared data is missing."
    import pandas as pd
    from cytokit.data.formats import read_image
    root = Path(__file__).resolve().parents[3]/'shared'/'data'/'nuclei'
    if not (root/'images.csv').exists(): return None
    table, r = pd.read_csv(root/'images.csv'), np.random.default_rng(seed)
    names = table.loc[(table['split'] == 'train') & table['gray'], 'id'].to_numpy()
    x, y = zip(*[crop(root, name, size, r, read_image) for name in r.permutation(names)[:n]])
    return split(torch.tensor(np.stack(x))[:, None], torch.tensor(np.stack(y))[:, None], 96, 36, 60, seed)

def crop(root, name, size, r, read_image):
    "The square with the most foreground among four at random."
    image, mask = read_image(root/'images'/f'{name}.png').array, read_image(root/'labels'/f'{name}.png').array
    image = (image[..., :3].mean(-1) if image.ndim == 3 else image).astype('f4')
    corners = [(r.integers(image.shape[0] - size), r.integers(image.shape[1] - size)) for _ in range(4)]
    y, x = max(corners, key=lambda c: (mask[c[0]:c[0] + size, c[1]:c[1] + size] > 0).mean())
    image, mask = (a[y:y + size, x:x + size] for a in (image, mask))
    return (image - image.mean())/(image.std() + 1), (mask > 0).astype('f4')

@program
def unet_classes(seed=0):
    "Background, discs or squares for each pixel."
    torch.manual_seed(seed)
    def classes(m): return torch.where(m.amax(1) > 0, m.argmax(1) + 1, 0)
    data = things(seed, classes, (128, 48, 96), kinds=2)
    return Program('unet_classes', 'mask classes', data, UNet(1, 3), nn.CrossEntropyLoss(), with_adam, epochs=8,
                   batch_size=8, lr=varied(seed, 8, 3e-3)['lr'], augment=flipped_both)

@program
def number(seed=0):
    "The share of the image that is covered, in tens of percent, by MSE."
    torch.manual_seed(seed)
    data = things(seed, lambda m: 10*m.amax(1).mean((1, 2))[:, None], (256, 96, 160))
    return Program('number', 'number', data, small_cnn(1, 1), nn.MSELoss(), with_adam, epochs=8, augment=flipped,
                   **varied(seed, 16, 3e-3))

@program
def labels(seed=0):
    "Which kinds are there: any of three."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax((2, 3)), (320, 96, 160))
    return Program('labels', 'labels', data, small_cnn(1, 3), nn.BCEWithLogitsLoss(), with_adam, epochs=10,
                   augment=flipped, **varied(seed, 16, 4e-3))

@program
def mlp(seed=0):
    "Breast cancer (Wisconsin) from 30 measured features."
    from sklearn.datasets import load_breast_cancer
    torch.manual_seed(seed)
    d = load_breast_cancer()
    x = torch.tensor((d.data - d.data.mean(0))/d.data.std(0), dtype=torch.float32)
    data = split(x, torch.tensor(d.target), 300, 100, 160, seed)
    model = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
    return Program('mlp', 'classes', data, model, nn.CrossEntropyLoss(), with_sgd, epochs=10, **varied(seed, 16, .01))

@program
def recurrent(seed=0):
    "Digits read row by row by a GRU."
    torch.manual_seed(seed)
    return Program('recurrent', 'classes', digits(seed), Rows(10), nn.CrossEntropyLoss(), with_adam, epochs=15,
                   augment=brightened, **varied(seed, 16, 4e-3))

@program
def fastai(seed=0):
    "A fastai Learner on pictures with one thing of three kinds."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax((2, 3)).argmax(1), most=1)
    return Program('fastai', 'classes', data, small_cnn(1, 3), nn.CrossEntropyLoss(), None, epochs=10, augment=flipped,
                   kind='fastai', **varied(seed, 16, 1e-3))

@program
def run(seed=0):
    "A run folder of `cytokit.train`."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax((2, 3)).argmax(1), (160, 80, 120), most=1)
    return Program('run', 'classes', data, None, None, None, epochs=8, kind='run', **varied(seed, 16, 3e-3))
