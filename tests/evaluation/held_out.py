"""The half of the mistakes that the doctor's makers did not see while they chose its thresholds."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
import faults
from faults import append, as_pixels, change, hidden_layers, keep_rows, last_layer, replace_layer, shuffled, swap

FAULTS = {}

def fault(family, cause, on, harm='score'):
    def keep(plant):
        FAULTS[plant.__name__] = faults.Fault(plant.__name__, family, cause, tuple(on.split()), plant, harm)
        return plant
    return keep

# %% Optimisation
@fault('optimisation', 'The learning rate is far too high.',
        'cnn plain binary finetuned unet number mlp recurrent fastai run')
def rate_too_high(p): p.lr = min(p.lr*1000, 10.)

@fault('optimisation', 'The learning rate is 0.', 'cnn binary unet labels')
def rate_zero(p): p.lr = 0.

@fault('optimisation', 'Momentum is so near 1 that old gradients never fade.', 'plain mlp frozen number')
def momentum_too_high(p): p.make_optimizer = lambda ps, lr: torch.optim.SGD(ps, lr=.1, momentum=.9999)

@fault('optimisation', 'The weight decay is far too strong.', 'cnn plain finetuned unet_bce mlp recurrent')
def weight_decay_huge(p):
    strength = min(.9/p.lr, 300)
    p.make_optimizer = lambda ps, lr: torch.optim.AdamW(ps, lr=lr, weight_decay=strength)

@fault('optimisation', 'Gradients are clipped to almost nothing.', 'plain binary mlp frozen number recurrent')
def clipped_to_nothing(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-7)
            optimizer.step()
    p.loop = train

# %% Loop
@fault('loop', 'The optimiser never takes a step.', 'cnn plain binary finetuned unet mlp labels')
def no_step(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
    p.loop = train

@fault('loop', 'The step stands after the loop (indentation): one step an epoch.', 'plain binary mlp unet number')
def step_after_loop(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
        optimizer.step()
    p.loop = train

@fault('loop', 'The model stays in evaluation mode while it is trained.', 'cnn unet unet_bce labels number')
def never_in_training_mode(p):
    def train(model, loader, loss, optimizer):
        model.eval()
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    p.loop = train

@fault('loop', 'Images and targets come from two passes that are shuffled apart.', 'cnn binary unet mlp labels')
def images_and_targets_apart(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for (x, _), (_, y) in zip(loader, loader):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    p.loop = train

@fault('loop', 'The validation never calls eval(): its images change the statistics of batch norm.',
       'cnn unet labels number', 'validity')
def validation_in_training_mode(p):
    def validate(model, loader, loss):
        with torch.no_grad(): return sum(loss(model(x), y).item() for x, y in loader)/len(loader)
    p.judge = validate

# %% Architecture
@fault('architecture', 'A softmax stands before the cross-entropy, which has its own.',
        'cnn recurrent unet_classes mlp fastai')
def softmax_before_cross_entropy(p): append(p, nn.Softmax(1))

@fault('architecture', 'A ReLU stands after the last layer.', 'cnn binary unet mlp number labels fastai')
def relu_at_the_end(p):
    if p.task == 'number': change(p, 1, lambda y: y - 5)
    append(p, nn.ReLU())

@fault('architecture', 'A softmax over a single output is always 1.', 'binary')
def softmax_over_one(p):
    append(p, nn.Softmax(1))
    p.loss = nn.BCELoss()

@fault('architecture', 'There are fewer outputs than classes.', 'cnn plain finetuned mlp fastai')
def too_few_outputs(p):
    head = last_layer(p.model)
    replace_layer(p.model, head, nn.Linear(head.in_features, head.out_features - 1))

@fault('architecture', 'Twenty sigmoid layers let the gradient vanish.', 'mlp cnn binary')
def vanishing_sigmoids(p):
    head = last_layer(p.model)
    n = head.in_features
    deep = [layer for _ in range(20) for layer in (nn.Linear(n, n), nn.Sigmoid())]
    replace_layer(p.model, head, nn.Sequential(*deep, head))

@fault('architecture', 'There is no activation between the layers: the network is linear.', 'cnn labels')
def no_activations(p):
    swap(p.model, nn.ReLU, lambda m: nn.Identity())
    swap(p.model, nn.MaxPool2d, lambda m: nn.AvgPool2d(2))

# %% Initialisation
@fault('initialisation', 'All weights begin at 0.', 'cnn plain binary mlp unet number')
def weights_zero(p):
    with torch.no_grad():
        for m in [*hidden_layers(p.model), last_layer(p.model)]:
            m.weight.zero_()
            m.bias.zero_()

@fault('initialisation', 'Biases of −10 keep the ReLUs at 0: dead units.', 'plain binary mlp')
def dead_units(p):
    with torch.no_grad():
        for m in hidden_layers(p.model): m.bias.fill_(-10)

@fault('initialisation', 'The last bias begins at −10: all background, and hardly a gradient.',
        'unet unet_bce binary labels')
def last_bias_low(p):
    with torch.no_grad(): last_layer(p.model).bias.fill_(-10)
    p.lr /= 5

# %% Loss
@fault('loss', 'A cross-entropy over classes is used though an image can have several.', 'labels')
def cross_entropy_for_several(p): p.loss = nn.CrossEntropyLoss()

@fault('loss', 'A cross-entropy over a single channel is always 0.', 'unet unet_bce binary')
def cross_entropy_of_one(p): p.loss = nn.CrossEntropyLoss()

@fault('loss', 'Targets (N,) against outputs (N, 1) are broadcast to (N, N).', 'number')
def broadcast_targets(p): change(p, 1, lambda y: y[:, 0])

@fault('loss', 'The loss has the wrong sign: training makes it worse.', 'cnn unet mlp number labels')
def wrong_sign(p):
    right = p.loss
    p.loss = lambda out, y: -right(out, y)

@fault('loss', 'The classes are counted from 1, the outputs from 0.', 'cnn plain mlp unet_classes')
def classes_from_one(p): change(p, 1, lambda y: y + 1, ('train', 'valid'))

@fault('loss', 'Some targets are missing (NaN).', 'number labels')
def targets_missing(p):
    def lose(y):
        y = y.clone()
        y[::20] = float('nan')
        return y
    change(p, 1, lose, ('train', 'valid'))

# %% Inputs
@fault('inputs', 'Most of the images are one grey (damaged while reading).', 'cnn unet binary run')
def most_images_constant(p):
    def spoil(x):
        x = x.clone()
        x[torch.arange(len(x)) % 8 > 0] = .5
        return x
    change(p, 0, spoil, ('train', 'valid'))

@fault('inputs', 'Validation images have another order of channels.', 'finetuned frozen')
def channels_swapped(p): change(p, 0, lambda x: x[:, [2, 0, 1]], ('valid', 'test'))

@fault('inputs', 'Validation images are normalised otherwise.', 'cnn plain binary unet number mlp finetuned')
def validation_normalised_otherwise(p):
    change(p, 0, lambda x: (x - x.min())/(x.max() - x.min())*.05, ('valid', 'test'))

@fault('inputs', 'The data set returns the same image each time.', 'cnn binary unet labels number')
def same_image_each_time(p): change(p, 0, lambda x: x[:1].expand_as(x).clone(), ('train', 'valid'))

@fault('inputs', 'The images are 16-bit numbers up to 65535, not normalised.', 'unet unet_bce binary plain')
def sixteen_bit(p): change(p, 0, lambda x: as_pixels(x)*257)

@fault('inputs', 'The images were shrunk until nothing is left to see.', 'cnn binary number labels run')
def shrunk_away(p):
    size = p.data['train'][0].shape[-1]
    change(p, 0, lambda x: F.interpolate(F.adaptive_avg_pool2d(x, 2), (size, size)))

# %% Labels
@fault('labels', 'The targets are shuffled against the images.',
        'cnn finetuned binary unet mlp number labels fastai run')
def targets_shuffled(p): change(p, 1, shuffled, ('train', 'valid'))

@fault('labels', 'The classes have other numbers in validation.', 'cnn finetuned mlp fastai')
def other_class_order(p):
    n = int(p.data['train'][1].max()) + 1
    change(p, 1, lambda y: (y + 1) % n, ('valid', 'test'))

# %% Validation
@fault('validation', 'The validation images are copies of training images.',
        'cnn finetuned binary unet mlp fastai run', 'validity')
def validation_copied(p): p.data['valid'] = [a[:60].clone() for a in p.data['train']]

@fault('validation', 'The validation set has a handful of images.', 'cnn binary unet fastai run', 'validity')
def validation_tiny(p):
    y = p.data['valid'][1]
    rows = range(3) if p.task.startswith('mask') else [int((y.flatten() == k).nonzero()[0]) for k in y.unique()[:3]]
    keep_rows(p, 'valid', torch.tensor(list(rows)))

@fault('validation', 'The validation images are all of one class.', 'cnn finetuned binary mlp fastai', 'validity')
def validation_one_class(p): keep_rows(p, 'valid', (p.data['valid'][1].flatten() == 1).nonzero()[:, 0])

# %% Regularisation
@fault('regularisation', 'A large network on a handful of images, without regularisation: it learns them by heart.',
        'cnn plain unet_bce labels fastai number')
def learned_by_heart(p):
    keep_rows(p, 'train', torch.arange(20))
    p.epochs *= 5
    p.augment = None

@fault('regularisation', 'Far too few epochs.', 'run')
def too_few_epochs(p):
    p.epochs = 1
    p.lr /= 10

# %% Precision
@fault('precision', 'All is in float16, where the optimiser overflows.', 'mlp plain binary')
def all_in_half(p):
    p.model = p.model.half()
    for part in p.data: p.data[part][0] = p.data[part][0].half()
    if p.task == 'binary':
        for part in p.data: p.data[part][1] = p.data[part][1].half()
    p.make_optimizer = lambda ps, lr: torch.optim.Adam(ps, lr=lr)

# %% Segmentation
@fault('segmentation', 'The masks are read as 0 and 255.', 'unet unet_bce')
def masks_0_255(p): change(p, 1, lambda y: y*255, ('train', 'valid'))

@fault('segmentation', 'The masks belong to other images.', 'unet unet_bce unet_classes')
def masks_of_others(p): change(p, 1, shuffled, ('train', 'valid'))

@fault('segmentation', 'The masks of classes were resized with interpolation, which makes false classes at borders.',
        'unet_classes')
def masks_interpolated(p):
    def resize(y):
        small = F.interpolate(y[:, None].float(), scale_factor=.34, mode='bilinear', antialias=True)
        return F.interpolate(small, y.shape[-2:], mode='bilinear')[:, 0].round().long()
    change(p, 1, resize, ('train', 'valid'))

@fault('segmentation', 'The images are flipped by augmentation, their masks are not.', 'unet unet_bce unet_classes')
def only_image_flipped(p):
    def turn(x, y):
        if np.random.rand() < .75: x = x.rot90(int(np.random.randint(1, 4)), (-2, -1))
        return x, y
    p.augment = turn
