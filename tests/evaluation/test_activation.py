"Class activation from the outside: a network that was looked at is the same network."
import numpy as np, pytest, torch
from torch import nn
from cytokit.core import InputError
from cytokit.evaluation.activation import choose_layer, grad_cam, sanity_check, share_on
from cytokit.segmentation.unet import unet
from cytokit.training.models import small_cnn


def snapshot(model):
    values = {k: v.clone() for k, v in model.state_dict().items()}
    grads = {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()}
    return values, grads, [m.training for m in model.modules()], torch.get_rng_state()


def same(a, b):
    values = all(torch.equal(a[0][k], b[0][k]) for k in a[0])
    known = a[1].keys()
    grads = all(a[1][k] is b[1][k] or torch.equal(a[1][k], b[1][k]) for k in known)
    return values and grads and a[2] == b[2] and torch.equal(a[3], b[3])


@pytest.mark.parametrize('model', [small_cnn(2, 3, dropout=.5), unet(2, 2, 'tiny')], ids=['small', 'unet'])
def test_looking_in_the_middle_of_training_changes_nothing(model):
    x = torch.rand(4, 2, 32, 32)
    model.train()
    model(x).sum().backward()  # gradients are there, as between backward and step
    before = snapshot(model)
    grad_cam(model, x)
    sanity_check(model, x, seeds=1)
    with torch.no_grad(): grad_cam(model, x)
    with torch.inference_mode(): grad_cam(model, x)
    assert same(before, snapshot(model))
    assert not any(part._forward_hooks for part in model.modules())


def test_an_error_inside_leaves_no_hook_and_no_mode():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.calls = nn.Conv2d(1, 2, 3), 0
        def forward(self, x):
            self.calls += 1
            if self.calls > 1: raise ZeroDivisionError(self.conv(x).shape)
            return self.conv(x).mean((2, 3))
    model = Breaks().train()
    with pytest.raises(ZeroDivisionError): grad_cam(model, torch.rand(1, 1, 16, 16))
    assert model.training and not model.conv._forward_hooks


def test_one_object_of_a_segmentation_lights_up_its_place():
    "The score of the left object must not be explained by the right half of the image."
    torch.manual_seed(0)
    model, x = unet(1, 1, 'tiny').eval(), torch.rand(2, 1, 128, 128)
    regions = np.zeros((2, 128, 128), bool)
    regions[0, 48:80, :32], regions[1, 48:80, 96:] = True, True
    both = torch.cat([x[:1], x[:1]])
    maps = grad_cam(model, both, region=regions).coarse
    assert not np.allclose(maps[0], maps[1])


def test_batches_do_not_change_the_maps():
    model, x = small_cnn(1, 2).eval(), torch.rand(5, 1, 32, 32)
    a, b = grad_cam(model, x, batch_size=2), grad_cam(model, x)
    np.testing.assert_allclose(a.maps, b.maps, atol=1e-6)


BAD = [torch.rand(1, 32, 32), torch.full((1, 1, 32, 32), float('nan')), torch.zeros(0, 1, 32, 32)]

@pytest.mark.parametrize('bad', BAD)
def test_bad_images_are_one_line(bad):
    with pytest.raises(InputError) as e: grad_cam(small_cnn(1, 2), bad)
    assert '\n' not in str(e.value)


def test_a_network_without_maps_is_refused():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(InputError, match='makes a map'): choose_layer(flat, torch.rand(1, 1, 8, 8))
    with pytest.raises(InputError, match='region'): share_on(np.ones((1, 4, 4)), np.ones((1, 4, 4)))
