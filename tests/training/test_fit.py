"A run killed with SIGKILL in the middle of an epoch, and a run repeated."
import functools, json, shutil, signal, time
import pandas as pd, pytest
from cytokit_process import COMMAND, cytokit, process, start
from safetensors.torch import load_file

KILL_IN_EPOCH = 1  # counted from 0: one epoch is complete
CODE = '''
import sys, os, signal, torch
from cytokit.training import fit as training
from cytokit.data.preprocess import Preprocessing
data, out, method, kill = sys.argv[1:5]
class Kill(training.Callback):
    order = 90
    def after_batch(self):
        whole = self.n_epoch == 3 and len(self.opt.all_params()) > 2  # not the head before fine-tuning
        if kill == 'yes' and self.training and self.epoch == %d and self.iter == 1 and whole:
            os.kill(os.getpid(), signal.SIGKILL)
make = training._learner
def learner(*args, **kwargs):
    learn, ratio = make(*args, **kwargs)
    learn.add_cb(Kill())
    return learn, ratio
training._learner = learner
if kill == 'resume': training.resume(out)
else:
    lr = None if method == 'small' else .001
    training.train(data, method, out, Preprocessing(size=32), epochs=3, batch_size=16, seed=5, lr=lr)
''' % KILL_IN_EPOCH

STOP = '''
import sys, os, signal
from cytokit.training import epochs, fit as training
from cytokit.data.preprocess import Preprocessing
data, out, kill = sys.argv[1:4]
after = epochs.EpochRecorder.after_epoch
def kill_when_best(self):
    after(self)
    if kill == 'yes' and self.best and len(self.state['history']) == 3: os.kill(os.getpid(), signal.SIGKILL)
epochs.EpochRecorder.after_epoch = kill_when_best
if kill == 'resume': training.resume(out)
else:
    settings = dict(epochs=40, batch_size=16, seed=5, lr=.01, augment='none', patience=3)
    training.train(data, 'small', out, Preprocessing(size=16), **settings)
'''

def run(*args): return process(CODE, *args)

@pytest.fixture(scope='module')
def textures(tmp_path_factory):
    from cytokit.data.synthetic import write_sample
    return write_sample('textures', tmp_path_factory.mktemp('data')/'textures', n=64)

@pytest.mark.parametrize('method', ['small', 'finetune'])
def test_killed_run_resumes_to_the_same_weights(textures, tmp_path, method):
    from cytokit.training.runs import differences
    whole, cut = tmp_path/'whole', tmp_path/'cut'
    assert run(textures, whole, method, 'no').returncode == 0
    assert run(textures, cut, method, 'yes').returncode == -signal.SIGKILL
    assert not (cut/'result.json').exists() and (cut/'checkpoint.safetensors').exists()
    r = run(textures, cut, method, 'resume')
    assert r.returncode == 0, r.stderr
    a, b = (load_file(p/'model.safetensors') for p in (whole, cut))
    assert a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)
    history = [pd.read_csv(p/'history.csv').drop(columns=['seconds', 'images_per_second']) for p in (whole, cut)]
    pd.testing.assert_frame_equal(*history, check_exact=True)
    assert (whole/'predictions.csv').read_bytes() == (cut/'predictions.csv').read_bytes()
    assert differences(*(json.loads((p/'result.json').read_text()) for p in (whole, cut))) == []

def test_killed_comparison_resumes_and_reruns(textures, tmp_path):
    "Killed from outside, at a moment that the comparison does not choose."
    from cytokit.training.runs import differences, rerun
    args = ['--methods', 'logistic,small,frozen', '--size', '32', '--epochs', '2', '--seeds', '1']
    assert cytokit('compare', textures, '--out', tmp_path/'whole', *args).returncode == 0
    p = start(COMMAND, 'compare', textures, '--out', tmp_path/'cut', *args, output=tmp_path)
    while p.is_alive() and not any((tmp_path/'cut/fits').glob('small*')): time.sleep(.01)
    p.kill(); p.join()
    assert p.exitcode == -signal.SIGKILL and not (tmp_path/'cut/result.json').exists()
    assert cytokit('resume', tmp_path/'cut').returncode == 0
    a, b = (json.loads((tmp_path/k/'result.json').read_text()) for k in ('whole', 'cut'))
    assert differences(a, b) == []
    assert rerun(tmp_path/'whole')[1] == []

def test_rerun_notices_other_images(textures, tmp_path):
    from cytokit.core import InputError
    from cytokit.data.preprocess import Preprocessing
    from cytokit.training.runs import rerun
    from cytokit.training.fit import train
    data = shutil.copytree(textures, tmp_path/'data')
    r = train(data, 'small', tmp_path/'run', Preprocessing(size=32), epochs=1)
    victim = next(data.rglob('*.png'))
    victim.write_bytes(next(p for p in data.rglob('*.png') if p != victim).read_bytes())
    with pytest.raises(InputError, match='changed'): rerun(r.folder)

def test_early_stopping_goes_back_to_the_best(textures, tmp_path):
    from cytokit.metrics.classification import log_loss
    call = lambda *args: process(STOP, *args)
    whole, cut = tmp_path/'whole', tmp_path/'cut'
    assert call(textures, whole, 'no').returncode == 0
    loss = pd.read_csv(whole/'history.csv')['valid_loss']
    assert len(loss) < 40 and len(loss) - 1 - loss.idxmin() == 3
    p = pd.read_csv(whole/'predictions.csv')
    names = json.loads((whole/'result.json').read_text())['classes']
    scores = p[[f'score_{n}' for n in names]].to_numpy()
    # the weights that are kept, with the classes balanced
    assert log_loss(p['target'].map(names.index).to_numpy(), scores) == pytest.approx(loss.min(), abs=1e-3)
    assert call(textures, cut, 'yes').returncode == -signal.SIGKILL
    r = call(textures, cut, 'resume')
    assert r.returncode == 0, r.stderr
    a, b = (load_file(p/'model.safetensors') for p in (whole, cut))
    assert all(a[k].equal(b[k]) for k in a)

def test_budget_of_seconds_sets_the_epochs(textures, tmp_path):
    from cytokit.data.preprocess import Preprocessing
    from cytokit.training.fit import train
    small = Preprocessing(size=16)
    short, long = (train(textures, 'small', tmp_path/f'{s}', small, seconds=s).result for s in (1e-3, 8))
    assert short['epochs'] == 1
    assert long['epochs'] > 1

@pytest.mark.skipif(not (shutil.which('g++') or shutil.which('clang++')), reason='torch.compile needs a C++ compiler')
def test_compiled_steps_learn_the_same(monkeypatch):
    import numpy as np, torch
    from cytokit.training.fit import Settings, fit
    from cytokit.training.targets import scores
    # The graphs are those of a compiled run; that a C++ compiler turns them into machine code right is torch's matter
    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend='aot_eager'))
    x = torch.rand(48, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y, rows = np.arange(48) % 3, (np.arange(32), np.arange(32, 48))
    (_, a), (model, b) = (fit(x, y, *rows, Settings(epochs=2, lr=.003, batch_size=16, compiled=c), 3)
                          for c in (False, True))
    for m, n in zip(a['history'], b['history']):
        assert (n['train_loss'], n['valid_loss']) == pytest.approx((m['train_loss'], m['valid_loss']), abs=.03)
    assert np.allclose(scores(model, x[:7]).sum(1), 1, atol=1e-5)
