"""Mistakes that people make, planted into the healthy programs of `trainings.py`: name, true cause, and how.

Taken from what happens (Humbatova 2020, Islam 2019, DeepFD, NeuraLint, UMLAUT, AutoTrainer, forums), not from what the
doctor looks for. This is the half that its makers saw; the other half is in `held_out.py`."""
import copy
from dataclasses import dataclass
import torch
from torch import nn
from trainings import needing_gradient

FAULTS = {}

@dataclass
class Fault:
    "A mistake, its true cause in plain words, and how to make it."
    name:str
    family:str
    cause:str
    on:tuple # Programs to which it applies
    plant:object # Changes a program
    harm:str = 'score' # 'score': later images are judged worse or later; 'validity': the score means less

def fault(family, cause, on, harm='score'):
    def keep(plant):
        FAULTS[plant.__name__] = Fault(plant.__name__, family, cause, tuple(on.split()), plant, harm)
        return plant
    return keep

def last_layer(model):
    "The layer that gives the outputs."
    return [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]

def hidden_layers(model):
    return [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][:-1]

def swap(model, old, new):
    "Replace each layer of one type; `new` makes the replacement of a layer."
    for name, child in model.named_children():
        if isinstance(child, old): setattr(model, name, new(child))
        else: swap(child, old, new)

def replace_layer(model, layer, new):
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child is layer: setattr(parent, name, new)

def append(p, *layers): p.model = nn.Sequential(p.model, *layers)

def change(p, i, f, parts=('train', 'valid', 'test')):
    "Apply a function to the images (i=0) or targets (i=1) of some parts."
    for part in parts: p.data[part][i] = f(p.data[part][i])

def keep_rows(p, part, rows): p.data[part] = [a[rows].clone() for a in p.data[part]]

def shuffled(a): return a[torch.randperm(len(a))]

def as_pixels(x):
    "Back to 0–255."
    return ((x - x.min())/(x.max() - x.min())*255).round()

# %% Optimisation
@fault('optimisation', 'The learning rate is far too low.',
        'cnn plain binary finetuned frozen unet unet_bce number mlp fastai run')
def rate_too_low(p): p.lr *= 1e-4

@fault('optimisation', 'A schedule meant for epochs is stepped after each batch: the rate is soon gone.',
       'plain binary unet number mlp')
def schedule_each_batch(p):
    rates = {}
    def train(model, loader, loss, optimizer):
        model.train()
        schedule = rates.setdefault(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, .3))
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
    p.loop = train

@fault('optimisation', 'The optimiser was made before the new head, whose parameters it does not know.',
        'frozen finetuned')
def head_unknown_to_optimizer(p):
    p.model[0].requires_grad_(False)
    head = {id(q) for q in last_layer(p.model).parameters()}
    old = [nn.Parameter(q.detach().clone()) for q in last_layer(p.model).parameters()]
    p.parameters = lambda model: [q for q in needing_gradient(model) if id(q) not in head] + old

@fault('optimisation', 'The optimiser holds the parameters of another copy of the model.',
        'cnn plain binary unet mlp labels')
def optimizer_of_other_model(p):
    other = copy.deepcopy(p.model)
    p.parameters = lambda model: list(other.parameters())

# %% Loop
@fault('loop', 'The gradients are never set to zero.', 'cnn plain unet number mlp labels recurrent')
def no_zero_grad(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
    p.loop = train

@fault('loop', 'The gradients are set to zero between backward and step.', 'cnn plain binary unet mlp number')
def zero_grad_before_step(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            loss(model(x), y).backward()
            optimizer.zero_grad()
            optimizer.step()
    p.loop = train

@fault('loop', 'The loss is made a new tensor, cut off from the network.', 'cnn binary mlp unet labels')
def loss_detached(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            value = torch.tensor(loss(model(x), y).item(), requires_grad=True)
            value.backward()
            optimizer.step()
    p.loop = train

@fault('loop', 'The features are detached, so that only the head learns.', 'cnn plain binary recurrent')
def features_detached(p):
    head = last_layer(p.model)
    head.register_forward_pre_hook(lambda m, inputs: tuple(a.detach() for a in inputs))

# %% Architecture
@fault('architecture', 'A sigmoid stands before BCEWithLogitsLoss, which has its own.',
        'binary labels unet_bce unet')
def sigmoid_twice(p): append(p, nn.Sigmoid())

@fault('architecture', 'A sigmoid limits outputs that should reach numbers above 1.', 'number')
def sigmoid_on_number(p): append(p, nn.Sigmoid())

@fault('architecture', 'A tanh limits outputs that should reach numbers far above 1.', 'number')
def tanh_on_number(p): append(p, nn.Tanh())

@fault('architecture', 'Many layers without normalisation that each enlarge: the gradient explodes.',
        'mlp plain recurrent')
def exploding_depth(p):
    head = last_layer(p.model)
    n = head.in_features
    deep = [layer for _ in range(12) for layer in (nn.Linear(n, n), nn.ReLU())]
    for layer in deep[::2]: nn.init.normal_(layer.weight, std=4/n**.5)
    replace_layer(p.model, head, nn.Sequential(*deep, head))

@fault('architecture', 'One layer has a single unit, through which all must pass.',
        'cnn plain mlp finetuned recurrent')
def bottleneck(p):
    head = last_layer(p.model)
    narrow = nn.Sequential(nn.Linear(head.in_features, 1), nn.ReLU(), nn.Linear(1, head.out_features))
    replace_layer(p.model, head, narrow)

@fault('architecture', 'The body is frozen, though it was never trained.', 'cnn plain binary recurrent fastai')
def random_body_frozen(p):
    p.model.requires_grad_(False)
    last_layer(p.model).requires_grad_(True)

@fault('architecture', 'Batches of one image, with batch norm.', 'cnn finetuned labels number fastai')
def batch_too_small_for_norm(p): p.batch_size = 1

# %% Initialisation
@fault('initialisation', 'All weights of a layer begin at the same number.', 'cnn plain binary mlp labels')
def weights_constant(p):
    with torch.no_grad():
        for m in [*hidden_layers(p.model), last_layer(p.model)]: m.weight.fill_(.05)

@fault('initialisation', 'The weights begin far too large.', 'plain binary mlp recurrent')
def weights_too_large(p):
    with torch.no_grad():
        for q in p.model.parameters(): q.normal_(0, 3)

# %% Loss
@fault('loss', 'NLLLoss is given raw scores without log-softmax.', 'plain cnn mlp recurrent')
def nll_of_scores(p):
    if p.name == 'plain': p.model = p.model[0]
    p.loss = nn.NLLLoss()

@fault('loss', 'A weight of 1000 on the positives makes everything positive.', 'unet_bce unet')
def positive_weight_huge(p): p.loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1000.))

@fault('loss', 'The class weights are inverted: the frequent class counts most.', 'unet_classes cnn')
def class_weights_inverted(p):
    if p.name == 'cnn':
        y = p.data['train'][1]
        keep_rows(p, 'train', torch.cat([(y < 3).nonzero()[:, 0], *[(y == k).nonzero()[:6, 0] for k in range(3, 6)]]))
    share = torch.bincount(p.data['train'][1].flatten()).float()
    p.loss = nn.CrossEntropyLoss(weight=(share/share.mean())**2)

@fault('loss', 'The targets are scaled to 0–1 and then cut to whole numbers: all become 0.',
        'cnn mlp unet_classes fastai')
def targets_cut_to_zero(p): change(p, 1, lambda y: (y/255).long(), ('train', 'valid'))

@fault('loss', 'The targets are numbers of many thousands, the outputs begin near 0.', 'number')
def targets_huge(p): change(p, 1, lambda y: y*1e4)

@fault('loss', 'A few targets are a thousand times too large (decimal point lost).', 'number')
def targets_outliers(p):
    def slip(y):
        y = y.clone()
        y[::40] = y[::40]*1000
        return y
    change(p, 1, slip, ('train',))

# %% Inputs
@fault('inputs', 'The images are raw, 0 to 255.', 'plain binary frozen recurrent number unet')
def raw_pixels(p): change(p, 0, as_pixels)

@fault('inputs', 'The images are divided by 255 twice, and are almost 0.', 'plain binary mlp frozen recurrent')
def divided_twice(p): change(p, 0, lambda x: (x - x.min())/255/255)

@fault('inputs', 'Some images contain NaN.', 'cnn binary unet mlp number fastai')
def nan_in_images(p):
    def hole(x):
        x = x.clone()
        x[::15, ..., 3] = float('nan')
        return x
    change(p, 0, hole, ('train',))

@fault('inputs', 'All images are black (they were not read).', 'cnn binary finetuned unet fastai labels')
def images_black(p): change(p, 0, torch.zeros_like, ('train', 'valid'))

@fault('inputs', 'The augmentation destroys what it shows.', 'cnn plain unet number fastai')
def augmentation_too_strong(p):
    def noise(x): return torch.roll(x, int(torch.randint(20, ())), -1)*torch.rand(()) + 4*torch.randn_like(x)
    p.augment = (lambda x, y: (noise(x), y)) if p.task.startswith('mask') else noise

@fault('inputs', 'Rows, columns and channels are mixed up by view instead of permute.', 'finetuned frozen')
def reshaped_not_permuted(p):
    change(p, 0, lambda x: x.permute(0, 2, 3, 1).reshape(x.shape), ('valid', 'test'))

# %% Labels
@fault('labels', 'Most of the labels are wrong.', 'cnn plain mlp frozen run')
def most_labels_wrong(p):
    def spoil(y):
        wrong = torch.rand(len(y)) < .75
        return torch.where(wrong, torch.randint(int(y.max()) + 1, y.shape), y)
    change(p, 1, spoil, ('train', 'valid'))

@fault('labels', 'There is only one class in the training images.', 'cnn binary mlp fastai')
def one_class_only(p):
    y = p.data['train'][1].flatten()
    keep_rows(p, 'train', (y == 1).nonzero()[:, 0].repeat(4)[:len(y)])

@fault('labels', 'Nearly all images are of one class.', 'mlp binary finetuned fastai run')
def imbalance(p):
    y = p.data['train'][1].flatten()
    others = torch.cat([(y == k).nonzero()[:2, 0] for k in y.unique() if k != 1])
    keep_rows(p, 'train', torch.cat([(y == 1).nonzero()[:, 0].repeat(3)[:160], others]))

# %% Validation
@fault('validation', 'There is no validation set.', 'cnn plain binary unet number labels', 'validity')
def no_validation(p): p.has_validation = False

@fault('validation', 'The images are sorted by class and never shuffled.', 'cnn plain binary mlp finetuned')
def sorted_not_shuffled(p):
    keep_rows(p, 'train', p.data['train'][1].flatten().argsort())
    p.shuffle = False

@fault('validation', 'A mark in the corner gives the class away, in training and validation only.',
        'cnn finetuned binary fastai')
def shortcut(p):
    for part in ('train', 'valid'):
        x, y = p.data[part]
        for i, k in enumerate(y.flatten().long()): x[i, :, :3, 3*int(k):3*int(k) + 3] = 4.
    p.augment = None

# %% Regularisation
@fault('regularisation', 'Dropout of 0.95 lets nearly nothing through.', 'plain cnn mlp binary')
def dropout_too_strong(p):
    head = last_layer(p.model)
    swap(p.model, nn.Dropout, lambda m: nn.Identity())
    replace_layer(p.model, head, nn.Sequential(nn.Dropout(.97), head))
    if p.name in ('plain', 'binary', 'mlp'): swap(p.model, nn.ReLU, lambda m: nn.Sequential(nn.ReLU(), nn.Dropout(.9)))

# %% Precision
@fault('precision', 'A logarithm of 0 in the user\'s own loss gives NaN.', 'binary labels unet_bce')
def log_of_zero(p):
    def own(out, y):
        q = (out*300).sigmoid()
        return -(y*q.log() + (1 - y)*(1 - q).log()).mean()
    p.loss = own

# %% Segmentation
@fault('segmentation', 'The masks are empty.', 'unet unet_bce unet_classes')
def masks_empty(p): change(p, 1, torch.zeros_like, ('train', 'valid'))

@fault('segmentation', 'Nearly all crops show background only.', 'unet unet_bce unet_classes')
def background_crops(p):
    def clear(part, keep):
        x, y = p.data[part]
        rows = torch.arange(len(x)) >= keep
        seen = (y > 0).float()
        seen = seen if seen.ndim == 4 else seen[:, None]
        x[rows] = torch.where(seen[rows] > 0, torch.randn_like(x[rows])*.4 + x.median(), x[rows])
        y[rows] = 0
    clear('train', 2)
    clear('valid', 2)

@fault('segmentation', 'Rows and columns of the masks are swapped.', 'unet unet_bce unet_classes')
def masks_transposed(p): change(p, 1, lambda y: y.transpose(-1, -2).contiguous(), ('train', 'valid'))

@fault('segmentation', 'The object fills a few pixels in a thousand, and the loss does not make up for it.',
        'unet_bce unet_classes')
def foreground_rare(p):
    def thin(part):
        x, y = p.data[part]
        hidden = torch.arange(len(y)) % 24 > 0
        y[hidden] = 0
    thin('train')
    thin('valid')

@fault('segmentation', 'Foreground and background are exchanged in part of the masks.', 'unet unet_bce')
def masks_inverted_in_part(p):
    def turn(y):
        y = y.clone()
        y[::2] = 1 - y[::2]
        return y
    change(p, 1, turn, ('train', 'valid'))
