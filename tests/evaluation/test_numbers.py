"Targets that are numbers, through the command: what is right, and one line for what is wrong."
import json, re, shutil
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from cytokit_process import process

# Runs many command lines in one process; prints exit code and stderr of each as JSON
MANY = '''
import contextlib, io, json, sys
from cytokit.cli import main
done = []
for args in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main(args)
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
'''

def run_all(lines, cwd):
    "Exit code, stdout and stderr of each command line."
    given = json.dumps([['-q', *map(str, line)] for line in lines])
    r = process(MANY, given, cwd=cwd)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)

QUICK = ['--size', 32, '--epochs', 1, '--lr', .003, '--batch-size', 16]
SIMPLE = ['--methods', 'mean,ridge', '--size', 32]

NUMBER = ['--task', 'number']
# A command line that is refused, and words of the one line that says why
REFUSED = [
    (['train', 'counts/text.csv', *NUMBER], "'many'"), (['compare', 'counts/empty.csv', *NUMBER], 'no target'),
    (['train', 'counts/infinite.csv', *NUMBER], 'NaN or infinite'),
    (['lr', 'counts/constant.csv'], 'nothing to predict'),
    (['compare', 'counts/single.csv', *NUMBER], 'too few for 2 parts'),
    (['compare', 'counts', '--metric', 'auc'], 'metric must be one of mae'),
    (['compare', 'counts/grades.csv', '--metric', 'mae'], 'metric must be one of accuracy'),
    (['compare', 'counts', '--methods', 'logistic'], 'ridge-cnn'),
    (['compare', 'counts', '--loss', 'bins'], 'small-bins'),
    (['train', 'counts/grades.csv', '--loss', 'mse'], '--loss mse is for numbers'),
    (['train', 'counts', '--loss', 'l1'], 'loss must be one of huber'),
    (['train', 'counts', '--bins', 1], 'bins must be a whole number'),
    (['train', 'counts', '--task', 'picture'], '--task must be one of class, number'),
    (['train', 'counts/images', *NUMBER], '--task number needs a CSV'),
    (['predict', 'compare', 'counts/images', '--csv', 'p.csv'], 'a run of `compare`')]

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A sample whose targets are counts, and tables with faults."
    home = tmp_path_factory.mktemp('numbers')
    from cytokit.data.synthetic import write_sample
    write_sample('cells', home/'counts', n=32, target='count', size=32, per_plate=2)
    table = pd.read_csv(home/'counts'/'table.csv').drop(columns='task')
    def save(name, target, rows=slice(None)):
        table.assign(target=target).iloc[rows].to_csv(home/'counts'/name, index=False)
    values = table['target'].astype(str)
    save('text.csv', ['many', *values[1:]])
    save('empty.csv', ['', *values[1:]])
    save('infinite.csv', ['inf', *values[1:]])
    save('constant.csv', '3.5')
    save('single.csv', values, slice(1))
    save('grades.csv', [str(i % 4) for i in range(32)])
    save('ages.csv', [20.5 + 3*i for i in range(32)])
    save('metres.csv', table['target']*1e-6)
    save('cells.csv', table['target']*1e6)
    return home

@pytest.fixture(scope='module')
def done(home):
    "What was done with the sample, by name of the run; `refused` holds what came of each line of `REFUSED`."
    lines = dict(train=['train', 'counts', '--out', 'train', *QUICK, '--loss', 'bins', '--bins', 4],
                 compare=['compare', 'counts', '--out', 'compare', *SIMPLE],
                 ages=['compare', 'counts/ages.csv', '--target', 'target', '--metric', 'r2', '--out', 'ages', *SIMPLE],
                 metres=['compare', 'counts/metres.csv', '--target', 'target', *NUMBER, '--out', 'metres', *SIMPLE],
                 cells=['compare', 'counts/cells.csv', '--target', 'target', *NUMBER, '--out', 'cells', *SIMPLE],
                 why=['interpret', 'metres'],
                 grades=['compare', 'counts/grades.csv', '--out', 'grades', '--methods', 'majority', '--size', 32],
                 asked=['compare', 'counts/grades.csv', '--task', 'number', '--out', 'asked', *SIMPLE],
                 check=['check', 'counts/grades.csv', '--task', 'number', '--json', 'check.json'],
                 predict=['predict', 'train', 'counts/images', '--csv', 'predicted.csv'],
                 rerun=['rerun', 'train'])
    came = run_all([*lines.values(), *(line for line, _ in REFUSED)], home)
    return dict(zip(lines, came)) | dict(refused=came[len(lines):])

def test_verbs_work_with_numbers(home, done):
    assert {name: done[name] for name in done if name != 'refused' and done[name][0]} == {}
    config, result = (json.loads((home/'train'/f'{o}.json').read_text()) for o in ('run', 'result'))
    assert (config['task'], config['classes']) == ('number', [])
    assert result['mean_predictor']['mae']['mean'] > 0 and result['mae']['low'] is not None
    valid = pd.read_csv(home/'train'/'predictions.csv')
    assert list(valid) == ['image', 'target', 'predicted'] and valid['predicted'].dtype == float
    target = json.loads((home/'train'/'model.json').read_text())['spec']['target']
    assert (target['kind'], len(target['levels'])) == ('bins', 4)
    new = pd.read_csv(home/'predicted.csv')
    names = [Path(p).name for p in new['image']]
    again = new.assign(image=names).set_index('image')['predicted']
    for image, p in zip(valid['image'], valid['predicted']):
        assert again[Path(image).name] == pytest.approx(p, abs=1e-3)
    assert 'Predicted numbers from' in done['predict'][1]
    assert 'Every figure is the same.' in done['rerun'][1]

def test_comparison_says_what_is_ahead(home, done):
    result = json.loads((home/'compare'/'result.json').read_text())
    assert result['conclusion'].split(' ')[0] in ('ridge', 'mean', 'No') and 'in MAE' in result['conclusion']
    assert result['simple'] in ('ridge', 'mean') and len(result['differences']) == 1
    assert 'MAE of' not in done['compare'][1] and 'R²' in done['compare'][1]
    assert json.loads((home/'ages'/'result.json').read_text())['methods'][0]['metric'] == 'r2'

def test_small_and_large_numbers_are_not_rounded_away(done):
    "An error in metres is not 0.000, one in cells has no digits that mean nothing; an interval has those of its mean."
    for name, digits in (('metres', range(6, 10)), ('cells', [0])):
        mean, low, high = re.search(r'ridge +([0-9.]+) \(([0-9.]+)–([0-9.]+)\)', done[name][1]).groups()
        assert {len(v.partition('.')[2]) for v in (mean, low, high)} <= {*digits} and float(mean) > 0, (mean, low, high)
        assert len({len(v.partition('.')[2]) for v in (mean, low, high)}) == 1
    said = re.search(r'absolute error is ([0-9.]+) \(95 % interval ([0-9.]+) to ([0-9.]+)\)', done['why'][1])
    error, low, high = said.groups()
    assert 0 < float(low) < float(error) < float(high)

def test_few_whole_numbers_are_asked_about(home, done):
    task = {name: json.loads((home/name/'run.json').read_text())['task'] for name in ('grades', 'asked')}
    assert task == dict(grades='class', asked='number')
    assert '--task number' in done['grades'][2] and done['asked'][2] == ''
    found = json.loads((home/'check.json').read_text())['findings']
    assert 'number_class' in [f['check'] for f in found]

def test_one_line_for_what_is_wrong(home, done):
    for (line, words), (code, _, err) in zip(REFUSED, done['refused']):
        said = [o for o in err.splitlines() if 'taken as' not in o]   # the question, where there is one
        assert (code, len(said)) == (2, 1) and words in err, (line, err)
    assert not (home/'runs').exists()   # nothing half-written

def test_damaged_runs_are_refused(home, done):
    "A split that no longer holds numbers, a spec without its scale, and what needs classes."
    from cytokit.core import InputError
    from cytokit.training.fit import Run
    from cytokit.training.runs import need_task, read_run, resume
    run = shutil.copytree(home/'train', home/'damaged')
    with pytest.raises(InputError, match='a run of numbers; this needs a run of classes'):
        need_task(read_run(run), 'class', run)
    model = json.loads((run/'model.json').read_text())
    for target in (3, {}, model['spec']['target'] | dict(std=0), model['spec']['target'] | dict(levels=[0.])):
        (run/'model.json').write_text(json.dumps(model | dict(spec=model['spec'] | dict(target=target))))
        with pytest.raises(InputError): Run(run).predict([next((home/'counts'/'images').iterdir())])
    (run/'result.json').unlink()
    split = pd.read_csv(run/'split.csv')
    split.assign(target='x', task='class').to_csv(run/'split.csv', index=False)
    with pytest.raises(InputError, match='must be numbers'): resume(run)

def test_killed_training_of_numbers_resumes(tmp_path):
    "Cut in an epoch and resumed, the same weights and the same figures."
    import torch
    from torch import nn
    from cytokit.training.fit import Settings, fit
    x = torch.rand(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    y, rows = 100*x.mean((1, 2, 3)).numpy().astype(float), (np.arange(16), np.arange(16, 24))
    s = Settings(epochs=3, lr=.01, batch_size=8, precision='float32')
    whole, info = fit(x, y, *rows, s, None)
    class Killed(BaseException): pass
    seen = []
    def count(*_):
        seen.append(1)
        if len(seen) == 8*sum(1 for _ in whole.modules()): raise Killed
    hook = nn.modules.module.register_module_forward_hook(count)
    try: fit(x, y, *rows, s, None, tmp_path/'cut.safetensors')
    except Killed: pass
    finally: hook.remove()
    resumed, again = fit(x, y, *rows, s, None, tmp_path/'cut.safetensors')
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()): assert a.equal(b)
    assert [h['mae'] for h in info['history']] == [h['mae'] for h in again['history']]

@pytest.mark.parametrize('augment', ['light', 'strong'])
def test_training_images_keep_their_number(augment):
    "What a training on numbers sees has as many bright pixels as the image; one on classes does not."
    import torch
    from cytokit.training.fit import Settings, start_training
    x = torch.zeros(8, 1, 24, 24)
    x[:, :, 5:12, 3:9] = 1
    def areas(y, n_out):
        s = Settings(augment=augment, batch_size=8)
        _, dls = start_training(x, y, np.arange(8), np.arange(8), s, n_out)
        batch = next(iter(dls.train))[0].cpu()
        return (batch > batch.mean((2, 3), keepdim=True) + batch.std((2, 3), keepdim=True)).sum((1, 2, 3)).tolist()
    assert areas(np.arange(8.), None) == [42]*8
    assert areas(np.arange(8) % 2, 2) != [42]*8

def test_check_finds_planted_faults(tmp_path):
    "A slipped decimal point, a copy with another number, and numbers that the order of names tells."
    from cytokit.quality.check import check
    r = np.random.default_rng(0)
    ages = np.sort(r.uniform(20, 80, 60)).round(1)
    for i in range(60): Image.fromarray(r.integers(0, 255, (24, 24), dtype=np.uint8)).save(tmp_path/f'{i:03d}.png')
    shutil.copy(tmp_path/'010.png', tmp_path/'050.png')
    ages[30] *= 10
    pd.DataFrame(dict(image=[f'{i:03d}.png' for i in range(60)], target=ages)).to_csv(tmp_path/'t.csv', index=False)
    found = check(tmp_path, table=tmp_path/'t.csv', keep=False).findings
    files = {name: set(Path(f).name for f in d['file'] if f) for name, d in found.groupby('check')}
    assert files['number_outlier'] == {'030.png'}
    assert files['number_conflict'] == {'010.png', '050.png'}
    assert set(found.loc[found['check'] == 'number_shortcut', 'group']) == {'order'}
