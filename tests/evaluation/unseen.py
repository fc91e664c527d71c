"""A third set of trainings and mistakes, in the style of other people's code, written before the doctor was changed
again and put aside until it was finished.

The mistakes come from forums and issue trackers: layers in a Python list, batch_first forgotten, the running sum of a
loss sent backward, a `break` left in, masks that are numbers of instances. None is in `faults.py` or `held_out.py`."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
import faults
import trainings
from faults import append, as_pixels, change, keep_rows, last_layer, replace_layer
from trainings import Program, digits, flipped, flipped_both, nuclei, shifted, split, things, varied, with_adam
from trainings import with_adamw, with_sgd

FAULTS, PROGRAMS = {}, {}

def program(make):
    PROGRAMS[make.__name__] = make
    return make

def fault(family, cause, on, answers, harm='score'):
    "As in `faults`; `answers` are the checks that a neutral expert would accept."
    def keep(plant):
        kept = faults.Fault(plant.__name__, family, cause, tuple(on.split()), plant, harm)
        kept.answers = answers
        FAULTS[plant.__name__] = kept
        return plant
    return keep

# %% Signals and words
def waves(seed, n=480, length=64):
    "Three kinds of waves (N, length, 1), of any phase and speed, with noise."
    r = np.random.default_rng([11, seed])
    t, y = np.arange(length)/length, np.arange(n) % 3
    phase, speed = r.uniform(0, 1, (n, 1)), r.uniform(2.5, 5, (n, 1))
    turn = (t[None]*speed + phase) % 1
    shapes = [np.sin(2*np.pi*turn), np.sign(turn - .5), 2*turn - 1]
    x = np.stack(shapes)[y, np.arange(n)] + r.normal(0, .25, (n, length))
    return split(torch.tensor(x, dtype=torch.float32)[..., None], torch.tensor(y), 240, 90, 150, seed)

class WaveNet(nn.Module):
    "A recurrent network over (N, T, 1): the last step decides."
    def __init__(self, batch_first=True, at=-1):
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 5, stride=2, padding=2)
        self.lstm = nn.LSTM(16, 32, batch_first=batch_first)
        self.fc = nn.Linear(32, 3)
        self.at = at

    def forward(self, x):
        x = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        out, _ = self.lstm(x)
        return self.fc(out[:, self.at])

def fit_waves(net, train_dl, criterion, opt):
    "An epoch, as in a blog post, with a printed accuracy."
    net.train()
    running, correct, seen = 0.0, 0, 0
    for i, data in enumerate(train_dl, 0):
        inputs, labels = data
        opt.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        opt.step()
        running += loss.item()
        correct += (outputs.argmax(1) == labels).sum().item()
        seen += len(labels)
    print(f'loss {running/(i + 1):.3f} acc {correct/seen:.3f}')

@program
def signal(seed=0):
    "Waves of three kinds by convolution and LSTM."
    torch.manual_seed(seed)
    return Program('signal', 'classes', waves(seed), WaveNet(), nn.CrossEntropyLoss(), with_adam, epochs=10,
                   loop=fit_waves, **varied(seed, 16, 4e-3))

def sentences(seed, n=520, length=20, words=40):
    "Rows of word numbers (N, length), 0 is padding; is there more of the first ten words or of the second ten?"
    r = np.random.default_rng([12, seed])
    x = r.integers(21, words, (n, length))
    y = np.arange(n) % 2
    for i in range(n):
        hits = r.choice(length - 6, 4, replace=False)
        x[i, hits] = r.integers(1, 11, 4) + 10*y[i]
        x[i, length - r.integers(0, 7):] = 0
    return split(torch.tensor(x), torch.tensor(y), 280, 90, 150, seed)

class Reader(nn.Module):
    "Embedding, one layer of a transformer, mean over the words that are there."
    def __init__(self, words=40, d=32, n_out=2):
        super().__init__()
        self.emb = nn.Embedding(words, d, padding_idx=0)
        self.pos = nn.Parameter(torch.randn(1, 20, d)*.02)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(d, n_out)

    def forward(self, tokens):
        pad = tokens == 0
        h = self.encoder(self.emb(tokens) + self.pos, src_key_padding_mask=pad)
        h = h.masked_fill(pad[..., None], 0).sum(1)/(~pad).sum(1, keepdim=True)
        return self.out(h)

def whole_training(model, train_iter, val_iter, epochs, criterion, optimizer):
    "All epochs in one function, with validation in between."
    for epoch in range(epochs):
        model.train()
        for tokens, label in train_iter:
            optimizer.zero_grad()
            loss = criterion(model(tokens), label)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for tokens, label in val_iter: criterion(model(tokens), label)

@program
def words(seed=0):
    "Two kinds of sentences by a small transformer; the whole training is one function."
    torch.manual_seed(seed)
    return Program('words', 'classes', sentences(seed), Reader(), nn.CrossEntropyLoss(), with_adamw, epochs=8,
                   loop=whole_training, **varied(seed, 16, 2e-3))

# %% Images
class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))

class ResNet(nn.Module):
    "Three blocks, in the style of the many CIFAR repositories."
    def __init__(self, n_in=3, num_classes=3):
        super().__init__()
        self.stem = nn.Conv2d(n_in, 8, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.layer1, self.layer2, self.layer3 = Residual(8, 12, 2), Residual(12, 24, 2), Residual(24, 32, 2)
        self.linear = nn.Linear(32, num_classes)

    def forward(self, x):
        out = F.relu(self.bn(self.stem(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))

def one_kind(masks): return masks.amax((2, 3)).argmax(1)

@program
def resnet(seed=0):
    "Colour pictures of one thing each by a small ResNet, SGD with momentum; only the parts are shown, not the loop."
    torch.manual_seed(seed)
    data = things(seed, one_kind, (288, 96, 160), most=1, colour=True)
    p = Program('resnet', 'classes', data, ResNet(), nn.CrossEntropyLoss(), with_sgd, epochs=8, augment=flipped,
                **varied(seed, 16, .02))
    p.shows_loop = False
    return p

@program
def learner(seed=0):
    "A fastai Learner on digits with dropout and batch norm."
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1),
                          nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(.25), nn.Linear(16*64, 10))
    return Program('learner', 'classes', digits(seed), model, nn.CrossEntropyLoss(), None, epochs=8, augment=shifted,
                   kind='fastai', **varied(seed, 16, 2e-3))

@program
def tags(seed=0):
    "Any of three kinds of things in colour pictures; own function as a loss, a closure as a loop."
    torch.manual_seed(seed)
    data = things(seed, lambda m: m.amax((2, 3)), (288, 96, 160), colour=True)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.LeakyReLU(.1), nn.Conv2d(12, 24, 3, 2, 1),
                        nn.BatchNorm2d(24), nn.LeakyReLU(.1), nn.Conv2d(24, 32, 3, 2, 1), nn.LeakyReLU(.1),
                        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 3))
    def criterion(logits, target): return F.binary_cross_entropy_with_logits(logits, target)
    return Program('tags', 'labels', data, net, criterion, with_adam, epochs=8, augment=flipped,
                   **varied(seed, 16, 3e-3))

# %% Masks, images, numbers
class DoubleConv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))

class OtherUNet(nn.Module):
    "A UNet with transposed convolutions, as in the repository that most people copy."
    def __init__(self, n_channels=1, n_classes=1):
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(n_channels, 8), DoubleConv(8, 16), DoubleConv(16, 24)
        self.up1, self.conv1 = nn.ConvTranspose2d(24, 16, 2, 2), DoubleConv(32, 16)
        self.up2, self.conv2 = nn.ConvTranspose2d(16, 8, 2, 2), DoubleConv(16, 8)
        self.outc = nn.Conv2d(8, n_classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.conv1(torch.cat([x2, self.up1(x3)], 1))
        return self.outc(self.conv2(torch.cat([x1, self.up2(x)], 1)))

def soft_dice(logits, target):
    "1 − Dice of probabilities."
    p = torch.sigmoid(logits)
    return 1 - (2*(p*target).sum() + 1)/(p.sum() + target.sum() + 1)

@program
def cells(seed=0):
    "Nuclei against the rest by that UNet, with a Dice loss."
    torch.manual_seed(seed)
    data = nuclei(seed) or things(seed, lambda m: m.amax(1, keepdim=True), (96, 36, 60), kinds=1)
    return Program('cells', 'mask', data, OtherUNet(), soft_dice, with_adam, epochs=10, batch_size=8,
                   lr=varied(seed, 8, 5e-3)['lr'], augment=flipped_both)

@program
def layers(seed=0):
    "Background and two kinds of things, cross-entropy for each pixel; the loop is not shown."
    torch.manual_seed(seed)
    def classes(m): return torch.where(m.amax(1) > 0, m.argmax(1) + 1, 0)
    p = Program('layers', 'mask classes', things(seed, classes, (112, 48, 80), kinds=2), OtherUNet(1, 3),
                nn.CrossEntropyLoss(), with_adam, epochs=8, batch_size=8, lr=varied(seed, 8, 4e-3)['lr'],
                augment=flipped_both)
    p.shows_loop = False
    return p

class Coder(nn.Module):
    "Convolutions down to 32 numbers, and up again."
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
                                     nn.Flatten(), nn.Linear(16*64, 32))
        self.decoder = nn.Sequential(nn.Linear(32, 16*64), nn.ReLU(), nn.Unflatten(1, (16, 8, 8)),
                                     nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2))

    def forward(self, x): return self.decoder(self.encoder(x))

@program
def coder(seed=0):
    "An autoencoder of digits: the target is the image."
    torch.manual_seed(seed)
    data = {part: [x, x.clone()] for part, (x, _) in digits(seed).items()}
    return Program('coder', 'image', data, Coder(), nn.MSELoss(), with_adam, epochs=8, **varied(seed, 16, 2e-3))

def homes(seed, n=520):
    "Eight measured features and a price, standardised; some of the features act together."
    r = np.random.default_rng([13, seed])
    x = r.normal(size=(n, 8))
    y = x[:, 0]*2 + np.sin(2*x[:, 1]) + x[:, 2]*x[:, 3] + .2*r.normal(size=n)
    y = (y - y.mean())/y.std()
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None], 300, 90, 130,
                 seed)

@program
def prices(seed=0):
    "A number from a table by a network with ELU, Huber loss."
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 48), nn.ELU(), nn.Linear(48, 24), nn.ELU(), nn.Linear(24, 1))
    return Program('prices', 'number', homes(seed), model, nn.SmoothL1Loss(), with_adam, epochs=12,
                   **varied(seed, 20, 4e-3))

@program
def folder(seed=0):
    "A run folder of `cytokit.train` on digits of three kinds."
    torch.manual_seed(seed)
    p = trainings.run(seed)
    p.name, p.data, p.epochs = 'folder', digits(seed, 3, 150), 6
    return p

# %% Loop
@fault('loop', 'The layers stand in a Python list: neither the model nor the optimiser knows them.', 'signal prices',
       'optimizer_parameters gradient_flows')
def python_list_of_layers(p):
    class Listed(nn.Module):
        def __init__(self, inner, head):
            super().__init__()
            self.layers, self.head = [inner], head

        def forward(self, x):
            for layer in self.layers: x = layer(x)
            return self.head(x)

    head = last_layer(p.model)
    new = nn.Linear(head.out_features, head.out_features)
    p.model = Listed(p.model, new)

@fault('loop', 'The running sum of the losses is sent backward once, after all batches.', 'tags prices cells',
       'optimizer_called backward_called step_order')
def loss_summed_over_epoch(p):
    def train(model, loader, loss, optimizer):
        model.train()
        optimizer.zero_grad()
        total = 0
        for x, y in loader: total = total + loss(model(x), y)
        total.backward()
        optimizer.step()
    p.loop = train

@fault('loop', 'A new optimiser is made for each batch: momentum is always lost.', 'prices tags',
       'optimizer_called optimizer_settings optimizer_parameters')
def optimizer_new_each_batch(p):
    p.lr /= 10
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer = torch.optim.SGD(model.parameters(), lr=p.lr, momentum=.9)
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    p.loop = train

@fault('loop', 'The loss is computed of argmax, and made to require a gradient by force.', 'signal', 'gradient_flows')
def loss_of_argmax(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            wrong = F.l1_loss(model(x).argmax(1).float(), y.float())
            wrong.requires_grad_(True)
            wrong.backward()
            optimizer.step()
    p.loop = train

@fault('loop', 'eval() is called for validation, and train() only once, before all epochs.', 'words', 'train_mode')
def eval_after_first_epoch(p):
    def train(model, train_iter, val_iter, epochs, criterion, optimizer):
        model.train()
        for epoch in range(max(epochs, 4)):
            for tokens, label in train_iter:
                optimizer.zero_grad()
                loss = criterion(model(tokens), label)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for tokens, label in val_iter: criterion(model(tokens), label)
    p.model.encoder.layers[0].dropout.p = .3
    p.loop = train

@fault('loop', 'A break from debugging was left in: one batch an epoch.', 'tags cells prices',
       'fresh_batches loop_learns steps_enough batches_used')
def break_left_in(p):
    def train(model, loader, loss, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            break
    p.loop = train

@fault('optimisation', 'A warm-up over 100,000 steps: the rate never rises.', 'tags prices',
       'schedule learning_rate loop_learns optimizer_settings')
def warmup_never_ends(p):
    schedules = {}
    def train(model, loader, loss, optimizer):
        model.train()
        if optimizer not in schedules:
            schedules[optimizer] = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1)/1e5))
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            schedules[optimizer].step()
    p.loop = train

@fault('optimisation', 'The group of the new head has a learning rate of 0.', 'resnet signal',
       'optimizer_settings learning_rate optimizer_parameters')
def head_group_rate_zero(p):
    def make(ps, lr):
        head = list(last_layer(p.model).parameters())
        known = {id(q) for q in head}
        body = [q for q in ps if id(q) not in known]
        return torch.optim.Adam([dict(params=body, lr=lr*.01), dict(params=head, lr=0.)])
    p.make_optimizer = make

# %% Architecture
@fault('architecture', 'F.dropout without training=: it is always on.', 'resnet tags prices',
       'prediction_stable valid_mode')
def dropout_always_on(p):
    class Head(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, h): return self.inner(F.dropout(h, .6))

    replace_layer(p.model, last_layer(p.model), Head(last_layer(p.model)))

@fault('architecture', 'Dropout stands after the last layer: scores are set to 0 at random.', 'learner resnet',
       'last_activation dropout_mild')
def dropout_on_outputs(p): append(p, nn.Dropout(.5))

@fault('architecture', 'batch_first was forgotten: the LSTM reads the batch as time.', 'signal', 'prediction_stable')
def batch_first_missing(p): p.model = WaveNet(batch_first=False)

@fault('architecture', 'The first time step decides, which has seen nothing yet.', 'signal',
       'inputs_used targets_follow fits_one_batch')
def first_time_step_only(p): p.model = WaveNet(at=0)

@fault('architecture', 'Batch norm has a momentum as in TensorFlow.', 'resnet learner tags', 'norm_layers')
def norm_momentum_of_tensorflow(p):
    for m in p.model.modules():
        if isinstance(m, nn.BatchNorm2d): m.momentum = .99

@fault('architecture', 'The body runs in no_grad, though it was never trained.', 'resnet',
       'gradient_flows frozen_layers')
def body_without_gradient(p):
    class Cut(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            net = self.net
            with torch.no_grad():
                h = net.layer3(net.layer2(net.layer1(F.relu(net.bn(net.stem(x))))))
            return net.linear(F.adaptive_avg_pool2d(h, 1).flatten(1))

    p.model = Cut(p.model)

@fault('architecture', 'The last layer is frozen instead of the others.', 'learner tags', 'frozen_layers')
def head_frozen(p): last_layer(p.model).requires_grad_(False)

# %% Loss
@fault('loss', 'Class numbers are predicted as a number, by squared error.', 'signal learner', 'loss_fits_targets')
def squared_error_of_class_numbers(p):
    head = last_layer(p.model)
    replace_layer(p.model, head, nn.Linear(head.in_features, 1))
    p.loss = lambda out, y: F.mse_loss(out[:, 0], y.float())

@fault('loss', 'ignore_index names a class that matters.', 'layers learner',
       'class_balance loss_fits_targets classes_counted')
def ignored_class(p): p.loss = nn.CrossEntropyLoss(ignore_index=1)

@fault('loss', 'The loss is a sum over pixels or images, with the learning rate of a mean.', 'layers resnet',
       'initial_loss learning_rate loss_fits_targets gradient_size loss_finite')
def loss_is_a_sum(p): p.loss = nn.CrossEntropyLoss(reduction='sum')

@fault('loss', 'The softmax runs over the batch.', 'signal words', 'softmax_axis loss_input')
def softmax_over_batch(p):
    append(p, nn.LogSoftmax(0))
    p.loss = nn.NLLLoss()

@fault('loss', 'Dice is computed of masks cut at 0.5, which have no gradient.', 'cells', 'gradient_flows')
def dice_of_thresholded(p):
    def loss(logits, target):
        q = (torch.sigmoid(logits) > .5).float() + 0*logits
        return 1 - (2*(q*target).sum() + 1)/(q.sum() + target.sum() + 1)
    p.loss = loss

@fault('loss', 'Dice is computed of raw scores.', 'cells', 'loss_input loss_fits_targets loss_sign last_activation')
def dice_of_logits(p):
    p.loss = lambda out, y: 1 - (2*(out*y).sum() + 1)/(out.sum() + y.sum() + 1)

@fault('loss', 'KL divergence is given probabilities, not their logarithms.', 'signal words', 'loss_input loss_sign')
def divergence_of_probabilities(p):
    def loss(out, y): return F.kl_div(out.softmax(1), F.one_hot(y, out.shape[1]).float(), reduction='batchmean')
    p.loss = loss

# %% Inputs
@fault('inputs', 'Bytes overflow: what is too bright becomes dark.', 'resnet learner tags',
       'inputs_detail inputs_scale inputs_layout inputs_vary')
def bytes_overflow(p):
    def brighten(x):
        wrapped = (as_pixels(x).to(torch.uint8)*3).float()
        return (wrapped - 128)/74
    change(p, 0, brighten)

@fault('inputs', 'Channels are last; the first layer reads rows as channels.', 'resnet', 'inputs_layout')
def channels_last(p):
    change(p, 0, lambda x: x.permute(0, 2, 3, 1).contiguous())
    p.model.stem = nn.Conv2d(32, 8, 3, 1, 1, bias=False)
    p.model.layer3 = Residual(24, 32, 1)
    p.augment = None

@fault('inputs', 'The images are normalised by the numbers of ImageNet twice.', 'tags cells coder', 'inputs_scale')
def normalised_twice(p):
    def twice(x):
        x = as_pixels(x)/255
        for _ in range(2): x = (x - .45)/.225
        return x
    change(p, 0, twice)

@fault('inputs', 'Missing values of a table are written as −999.', 'prices', 'inputs_scale inputs_finite')
def missing_as_999(p):
    def spoil(x):
        x = x.clone()
        x[torch.rand(x.shape) < .06] = -999.
        return x
    change(p, 0, spoil)

@fault('inputs', 'A feature of the table is the target itself, which later data have not.', 'prices',
       'no_shortcut targets_follow')
def target_among_features(p):
    for part in ('train', 'valid'): p.data[part][0][:, 5] = p.data[part][1][:, 0]

# %% Labels and validation
@fault('labels', 'Many images are there several times, each time with another label.', 'resnet learner folder',
       'targets_follow targets_agree')
def copies_with_other_labels(p):
    x, y = p.data['train']
    n, k = len(x)//3, int(y.max()) + 1
    p.data['train'] = [torch.cat([x[:n]]*3), torch.cat([y[:n], (y[:n] + 1) % k, (y[:n] + 2) % k])]

@fault('labels', 'One of the labels is never set.', 'tags', 'class_balance targets_vary classes_counted')
def label_never_set(p):
    for part in ('train', 'valid'): p.data[part][1][:, 1] = 0

@fault('labels', 'The columns of labels have another order in validation.', 'tags', 'parts_alike targets_follow')
def label_columns_reordered(p): change(p, 1, lambda y: y[:, [2, 0, 1]], ('valid', 'test'))

@fault('labels', 'Training targets are standardised, those of validation are not.', 'prices coder',
       'parts_alike targets_scale targets_follow')
def validation_targets_raw(p): change(p, 1, lambda y: y*30 + 180, ('valid', 'test'))

@fault('validation', 'Copies were made by augmentation before the split: the same objects are in both parts.',
       'resnet folder learner', 'parts_separate', 'validity')
def split_after_augmentation(p):
    x, y = p.data['train']
    rows = torch.randperm(len(x))[:70]
    p.data['valid'] = [x[rows].flip(-1)*1.05 + .02*torch.randn(x[rows].shape), y[rows].clone()]
    p.augment = None

@fault('validation', 'A class is only in validation, never in training.', 'resnet learner',
       'validation_there class_balance classes_counted targets_follow parts_alike')
def class_missing_in_training(p): keep_rows(p, 'train', (p.data['train'][1] != 2).nonzero()[:, 0])

@fault('validation', 'The validation images are augmented too.', 'learner tags resnet', 'validation_fixed', 'validity')
def validation_augmented(p):
    class Turned(Dataset):
        def __init__(self, inner): self.inner = inner
        def __len__(self): return len(self.inner)

        def __getitem__(self, i):
            x, y = self.inner[i]
            return x.roll(int(np.random.randint(-6, 7)), -1)*float(np.random.uniform(.5, 1.5)), y

    p.valid_loader = lambda: DataLoader(Turned(trainings.Pictures(*p.data['valid'])), 64)

# %% Segmentation
@fault('segmentation', 'The masks lie six pixels beside their objects: the images were padded, the masks not.',
       'layers cells', 'masks_fit')
def masks_beside(p): change(p, 1, lambda y: y.roll((6, 6), (-2, -1)), ('train', 'valid'))

@fault('segmentation', 'The masks hold the numbers of the instances, not yes or no.', 'cells',
       'mask_values loss_fits_targets')
def instances_as_mask(p):
    from scipy.ndimage import label
    def number(y): return torch.tensor(np.stack([label(m[0])[0] for m in y.numpy()]))[:, None].float()
    change(p, 1, number, ('train', 'valid'))
    p.loss = nn.BCEWithLogitsLoss()
