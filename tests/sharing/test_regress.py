"The gate: a model that is worse on one slice is caught and named, an equal one passes; bad input in one line."
import json, shutil
import numpy as np, pytest
from cytokit_process import cytokit
from cytokit.data.csv_files import read_csv, write_csv
from cytokit.data.datasets import read_table, split_table
from cytokit.data.preprocess import Preprocessing
from cytokit.data.synthetic import write_sample
from cytokit.training.fit import train

QUICK = dict(method='frozen', weights='textures', preprocessing=Preprocessing(size=24), epochs=8, lr=.01, augment='none')

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A model, one trained again, and one whose training labels of one scanner were corrupted."
    home = tmp_path_factory.mktemp('regress')
    whole = read_table(write_sample('textures', home/'textures', n=240))
    kept = whole[whole['target'].isin(('flower', 'snail'))].reset_index(drop=True)
    kept.attrs = whole.attrs
    table = split_table(kept, valid=.5)
    # scanner B sees as much of both classes, and brighter
    table['scanner'] = np.where(np.arange(len(table)) % 3, 'A', 'B')
    train(table, out=home/'old', **QUICK)
    train(table, out=home/'again', seed=2, **QUICK)
    return home

def as_another_model(home, to, changed):
    "The old run with the predictions of a model that answers the other class on the rows that `changed` picks."
    folder = shutil.copytree(home/'old', home/to)
    p = read_csv(folder/'predictions.csv', dtype=dict(target=str, predicted=str))
    rows = read_csv(folder/'split.csv').query('split == "valid"').reset_index(drop=True)
    names = json.loads((folder/'run.json').read_text())['classes']
    columns = [f'score_{n}' for n in names]
    scores, where = p[columns].to_numpy(), changed(rows).to_numpy()
    scores[where] = scores[where][:, ::-1]
    p[columns] = scores
    write_csv(folder/'predictions.csv', p.assign(predicted=[names[k] for k in scores.argmax(1)]))
    return folder

def test_worse_on_one_scanner_is_caught_and_named(home):
    as_another_model(home, 'on_b', lambda rows: rows['scanner'] == 'B')
    r = cytokit('regress', 'on_b', '--against', 'old', '--margin', '0.05', '--json', 'gate.json', cwd=home)
    assert r.returncode == 1 and 'Worse on scanner = B' in r.stdout, r.stderr + r.stdout
    gate = json.loads((home/'gate.json').read_text())
    said = {row['slice']: row['says'] for row in gate['table'] if row['by'] == 'scanner'}
    assert said['B'] == 'worse' and said['A'] != 'worse' and not gate['passed']
    lost = next(e['images'] for e in gate['lost'] if (e['by'], e['slice']) == ('scanner', 'B'))
    assert 1 <= len(lost) <= 3

def test_an_equal_model_passes_and_a_small_slice_is_no_alarm(home):
    shutil.copytree(home/'old', home/'equal')
    r = cytokit('regress', 'equal', '--against', 'old', cwd=home)
    assert r.returncode == 0 and r.stdout.startswith('Passed'), r.stdout + r.stderr
    from cytokit.sharing.regress import regress
    one = as_another_model(home, 'one_image', lambda rows: rows['image'].eq(rows['image'].iloc[3]))
    gate = regress(one, home/'old', margin=.05)
    assert gate.passed and (gate.table['says'].str.startswith('cannot tell')).any()

def test_a_named_set_is_predicted_by_both(home):
    write_sample('textures', home/'more', n=60, seed=5)
    for name in ('butterfly', 'fish', 'leaf', 'shell'): shutil.rmtree(home/'more'/name)
    (home/'more'/'table.csv').unlink()
    r = cytokit('regress', 'again', '--against', 'old', '--margin', '0.9', '--set', 'clinic=more', '--json', 'set.json', cwd=home)
    assert r.returncode == 0, r.stderr + r.stdout
    row = next(row for row in json.loads((home/'set.json').read_text())['table'] if row['set'] == 'clinic')
    assert row['images'] == 20 and 0 <= row['new'] <= 1

def test_segmentations(tmp_path):
    from cytokit.segmentation.pipeline import segment
    from cytokit.sharing.regress import regress
    cells = write_sample('cells', tmp_path/'cells', n=24, masks=True, size=48, per_plate=4)
    quick = dict(preset='tiny', patch=32)
    segment(cells, out=tmp_path/'old', epochs=6, steps=20, **quick)
    segment(cells, out=tmp_path/'worse', epochs=1, steps=1, **quick)
    gate = regress(tmp_path/'worse', tmp_path/'old', margin=.02)
    assert gate.score_name == 'mean Dice' and not gate.passed and gate.failing.iloc[0]['set'] == 'validation'
    assert regress(tmp_path/'old', tmp_path/'worse', margin=.02).passed

def test_numbers(tmp_path):
    from PIL import Image
    import pandas as pd
    from cytokit.sharing.regress import regress
    r, rows = np.random.default_rng(0), []
    for k in range(60):
        level = r.integers(20, 200)
        Image.fromarray(r.integers(level, level + 40, (20, 20)).astype('u1')).save(tmp_path/f'{k}.png')
        rows.append(dict(image=f'{k}.png', target=float(level), split='valid' if k % 2 else 'train'))
    pd.DataFrame(rows).to_csv(tmp_path/'table.csv', index=False)
    how = Preprocessing(size=16, norm='dtype')
    train(tmp_path/'table.csv', out=tmp_path/'old', preprocessing=how, epochs=6, lr=.01)
    folder = shutil.copytree(tmp_path/'old', tmp_path/'worse')
    p = read_csv(folder/'predictions.csv')
    write_csv(folder/'predictions.csv', p.assign(predicted=p['predicted'] + 3*(p['predicted'] - p['target']) + 30))
    gate = regress(folder, tmp_path/'old', margin=1.)
    assert not gate.passed and gate.table['difference'].iloc[0] < -1

BAD = [(['regress', 'old', '--against', 'old'], 'with itself'), (['regress', 'old', '--against', 'none'], 'no such folder'),
       (['regress', 'old', '--against', 'again', '--margin', '-1'], 'margin must be'),
       (['regress', 'old', '--against', 'again', '--margin', 'nan'], 'margin must be'),
       (['regress', 'old', '--against', 'again', '--set', 'clinic'], 'NAME=DIR'),
       (['regress', 'old', '--against', 'again', '--set', 'clinic=nowhere'], 'no such folder'),
       (['regress', 'old', '--against', 'other'], 'held out other images'),
       (['regress', 'gone', '--against', 'old'], 'predictions.csv: no such file'),
       (['regress', 'old', '--against', 'classes'], 'its classes are')]

def test_bad_input_is_one_line(home):
    kept = read_table(home/'old'/'split.csv')
    train(split_table(kept.drop(columns='split'), valid=.5, seed=3), out=home/'other', **QUICK)
    named = kept.assign(target=kept['target'].map(dict(flower='a', snail='b')))
    named.attrs = kept.attrs
    train(named, out=home/'classes', **QUICK)
    shutil.copytree(home/'old', home/'gone')
    (home/'gone'/'predictions.csv').unlink()
    for args, words in BAD:
        r = cytokit(*args, cwd=home)
        assert (r.returncode, r.stderr.count('\n')) == (2, 1) and words in r.stderr, (args, r.stderr)
