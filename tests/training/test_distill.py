"Several trained networks distilled into one small one, by the command, from another folder, with relative paths."
import json, shutil, signal, time
import numpy as np, pandas as pd, pytest
from cytokit_process import COMMAND, cytokit, start
from safetensors.torch import load_file

STUDENT = ['--size', '16', '--epochs', '2', '--lr', '0.003', '--seeds', '1']

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Images with a split, a third of the training images without a label, and two specialists of four classes each."
    from cytokit.core import rng
    from cytokit.data.datasets import read_table, save_table, split_table
    from cytokit.data.preprocess import Preprocessing
    from cytokit.data.synthetic import write_sample
    from cytokit.training.fit import train
    home = tmp_path_factory.mktemp('distill')
    table = split_table(read_table(write_sample('textures', home/'textures', n=120)), seed=0)
    save_table(table, home/'all.csv')
    hidden = (rng(0, 'hidden').random(len(table)) < 1/3) & (table['split'] == 'train').to_numpy()
    some = pd.read_csv(home/'all.csv')
    some['target'] = some['target'].where(~hidden, '')
    some.to_csv(home/'some.csv', index=False)
    names = sorted(set(table['target']))
    ways = dict(first=(names[:4], Preprocessing(size=24, channels=1)), second=(names[2:], Preprocessing(size=32)))
    for name, (known, preprocessing) in ways.items():
        part = table[table['target'].isin(known)].reset_index(drop=True)
        part.attrs = table.attrs
        train(part, 'small', home/name, preprocessing, epochs=2, lr=3e-3)
    asked = cytokit('distill', 'first', 'second', '--data', 'some.csv', '--out', 'student', *STUDENT, cwd=home)
    assert asked.returncode == 0, asked.stderr
    (home/'printed').write_text(asked.stdout)
    return home

def result(folder): return json.loads((folder/'result.json').read_text())

def test_it_says_what_the_student_kept(home):
    printed, got = (home/'printed').read_text(), result(home/'student')
    for line in ('first', 'second', 'teachers combined', 'student', 'student without teachers'): assert line in printed
    assert got['conclusion'] in printed and 'Run folder: student' in printed
    rows = {row['name']: row for row in got['models']}
    assert [len(rows[name]['classes']) for name in ('first', 'second', 'student')] == [4, 4, 6]
    assert rows['student']['n_parameters'] == rows['student without teachers']['n_parameters']
    assert rows['student']['size_mb'] == pytest.approx((home/'student/model.safetensors').stat().st_size/1e6)
    labelled = pd.read_csv(home/'some.csv')
    train = labelled[labelled['split'] == 'train']
    assert (got['n_train'], got['n_unlabelled']) == (train['target'].notna().sum(), train['target'].isna().sum())

def test_each_teacher_is_asked_through_its_own_preprocessing(home):
    "One reads 24 grey pixels, the other 32 in colour, the student 16: their scores are those of `cytokit predict`."
    from cytokit.metrics.classification import balanced_accuracy
    valid = pd.read_csv(home/'student/predictions.csv')
    for row in result(home/'student')['models'][:2]:
        mine = valid[valid['target'].isin(row['classes'])]
        csv = home/f'{row["name"]}.csv'
        assert cytokit('predict', row['name'], *mine['image'], '--csv', csv, cwd=home).returncode == 0
        scores = pd.read_csv(csv)[[f'score_{name}' for name in row['classes']]].to_numpy()
        y = mine['target'].map(row['classes'].index).to_numpy()
        assert row['mean'] == pytest.approx(balanced_accuracy(y, scores))
        assert row['n_valid'] == len(mine)

def test_the_folder_predicts_and_repeats(home):
    got = cytokit('predict', 'student', 'textures', '--csv', 'new.csv', cwd=home)
    assert got.returncode == 0, got.stderr
    new = {(home/row.image).resolve(): row.predicted for row in pd.read_csv(home/'new.csv').itertuples()}
    for row in pd.read_csv(home/'student/predictions.csv').itertuples():
        assert new[(home/'student'/row.image).resolve()] == row.predicted
    again = cytokit('rerun', 'student', '--out', 'again', cwd=home)
    assert again.returncode == 0, again.stderr
    assert again.stdout.rstrip().endswith('Every figure is the same.'), again.stdout
    said = cytokit('interpret', 'student', cwd=home)
    assert said.returncode == 0, said.stderr

def test_killed_and_resumed_it_ends_alike(home, tmp_path):
    from cytokit.training.runs import differences
    args = ['distill', '../first', '../second', '--data', '../some.csv', '--out', tmp_path/'cut', *STUDENT]
    (home/'elsewhere').mkdir()
    p = start(COMMAND, *args, cwd=home/'elsewhere', output=tmp_path)
    while p.is_alive() and not any((tmp_path/'cut/fits').glob('0_0.*')): time.sleep(.01)
    p.kill()
    p.join()
    assert p.exitcode == -signal.SIGKILL and not (tmp_path/'cut/result.json').exists()
    r = cytokit('resume', tmp_path/'cut')
    assert r.returncode == 0, r.stderr
    a, b = (load_file(folder/'model.safetensors') for folder in (home/'student', tmp_path/'cut'))
    assert a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)
    assert differences(result(home/'student'), result(tmp_path/'cut')) == []

def test_what_a_teacher_has_seen_does_not_validate(home, tmp_path):
    "The split of the data is refused where it leaks, and made without a leak where there is none."
    table = pd.read_csv(home/'all.csv')
    seen = set(table.loc[table['split'] == 'train', 'image'])
    table['image'] = [str(home/p) for p in table['image']]
    turned = table.assign(split=table['split'].map(dict(train='valid', valid='train')))
    turned.to_csv(tmp_path/'turned.csv', index=False)
    teachers = [home/'first', home/'second']
    got = cytokit('distill', *teachers, '--data', tmp_path/'turned.csv', '--out', tmp_path/'run', *STUDENT)
    assert got.returncode == 2 and 'leak: ' in got.stderr and 'training images of the teacher first' in got.stderr
    assert got.stderr.count('\n') == 1 and not (tmp_path/'run').exists()
    copies = shutil.copytree(home/'textures', tmp_path/'copies')  # other places, the same bytes
    got = cytokit('distill', *teachers, '--data', copies, '--out', tmp_path/'run', *STUDENT)
    assert got.returncode == 0, got.stderr
    split = pd.read_csv(tmp_path/'run/split.csv')
    held_out = {'/'.join(p.split('/')[-2:]) for p in split.loc[split['split'] == 'valid', 'image']}
    assert held_out and held_out.isdisjoint({'/'.join(p.split('/')[-2:]) for p in seen})

def test_an_image_without_a_label_counts_once_and_never_validates(home, tmp_path):
    "Copies of labelled images, in a folder without labels, are left out; new ones are not."
    from cytokit.data.synthetic import write_sample
    more = shutil.copytree(home/'textures', tmp_path/'more')
    for p in write_sample('textures', tmp_path/'new', n=12, seed=9).rglob('*.png'): shutil.copy(p, more/f'new_{p.name}')
    n_new = len(list(more.glob('new_*')))
    got = cytokit('distill', home/'first', home/'second', '--data', home/'all.csv', '--unlabelled', more,
                  '--out', tmp_path/'run', *STUDENT)
    assert got.returncode == 0, got.stderr
    assert result(tmp_path/'run')['n_unlabelled'] == n_new
    assert f'120 of {120 + n_new} images without a label are left out: copies of others.' in got.stdout

def _bad(home, tmp_path):
    "What is wrong, the command, and what the one line must say."
    table = pd.read_csv(home/'all.csv')
    table['image'] = [str(home/p) for p in table['image']]
    table.assign(target='').to_csv(tmp_path/'none.csv', index=False)
    table.assign(target=table['target'] + 's').to_csv(tmp_path/'other.csv', index=False)
    table.assign(target=np.arange(len(table))/7).to_csv(tmp_path/'numbers.csv', index=False)
    (tmp_path/'empty').mkdir()
    (tmp_path/'broken').mkdir()
    (tmp_path/'broken/a.png').write_bytes(b'no image')
    shutil.copytree(home/'first', tmp_path/'unfinished')
    (tmp_path/'unfinished/result.json').unlink()
    quick = ('--size', 16, '--epochs', 1, '--lr', .001)
    assert cytokit('train', tmp_path/'numbers.csv', *quick, '--out', tmp_path/'number').returncode == 0
    both, data = [home/'first', home/'second'], home/'some.csv'
    return {
        'a class that no teacher knows': (both[:1], data, [], 'is known to no teacher'),
        'no class in common': (both, tmp_path/'other.csv', [], 'shares no class with the data'),
        'the same teacher twice': ([both[0], both[0]], data, [], 'the same teacher as'),
        'an unfinished run': ([both[1], tmp_path/'unfinished'], data, [], 'not finished'),
        'a run of numbers': ([tmp_path/'number'], data, [], 'a run of numbers; this needs a run of classes'),
        'a run of distill': ([home/'student'], data, [], 'a run of `distill`; this needs one of `train`'),
        'no run': ([home/'textures'], data, [], 'not a run folder'),
        'no label': (both, tmp_path/'none.csv', [], 'has a label'),
        'no data': (both, tmp_path/'nowhere', [], 'no such folder or CSV file'),
        'temperature 0': (both, data, ['--temperature', '0'], 'temperature must be a number above 0'),
        'share 0': (both, data, ['--share', '0'], 'share must be a number above 0'),
        'another match': (both, data, ['--match', 'names'], 'match must be one of outputs, features'),
        'width 20': (both, data, ['--width', '20'], 'width must be a multiple of 16'),
        'an empty folder': (both, data, ['--unlabelled', tmp_path/'empty'], 'no image in it'),
        'a broken file': (both, data, ['--unlabelled', tmp_path/'broken'], 'a.png'),
        'a folder that is there': (both, data, ['--out', home/'student'], 'exists already'),
    }

def test_bad_input_is_one_line_and_nothing_is_lost(home, tmp_path):
    before = {p: p.read_bytes() for folder in ('first', 'second', 'student') for p in (home/folder).iterdir()}
    for wrong, (teachers, data, more, says) in _bad(home, tmp_path).items():
        out = [] if '--out' in more else ['--out', tmp_path/'bad']
        got = cytokit('distill', *teachers, '--data', data, *out, *STUDENT, *more)
        assert got.returncode == 2 and got.stderr.count('\n') == 1 and says in got.stderr, (wrong, got.stderr)
        assert not (tmp_path/'bad').exists(), wrong
    assert before == {p: p.read_bytes() for p in before}

def test_images_with_other_channels_name_file_and_teacher(home, tmp_path):
    "Five channels: the student could read them, the teachers cannot."
    import tifffile
    table = pd.read_csv(home/'all.csv')
    for i, target in enumerate(table['target']):
        pixels = np.random.default_rng(i).integers(0, 255, (5, 16, 16), dtype=np.uint8)
        (tmp_path/'five'/target).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path/'five'/target/f'{i}.tif', pixels, metadata={'axes': 'CYX'}, imagej=False,
                         photometric='minisblack')
    got = cytokit('distill', home/'first', home/'second', '--data', tmp_path/'five', '--out', tmp_path/'bad', *STUDENT)
    assert got.returncode == 2 and got.stderr.count('\n') == 1, got.stderr
    assert 'teacher second: ' in got.stderr and '5 channels' in got.stderr and not (tmp_path/'bad').exists()

def test_a_repeat_needs_the_same_teachers(home, tmp_path):
    "A teacher that was trained again since, and a run.json that somebody changed, are refused in one line."
    run = shutil.copytree(home/'student', tmp_path/'run')
    config = json.loads((run/'run.json').read_text())
    config['teachers'][0]['digest'] = '0'*16
    (run/'run.json').write_text(json.dumps(config))
    (run/'result.json').unlink()
    got = cytokit('resume', run)
    assert got.returncode == 2 and 'its weights changed since' in got.stderr and got.stderr.count('\n') == 1
    for name, value in dict(temperature=-1, teachers=[{}], unlabelled=[3], share='x').items():
        (run/'run.json').write_text(json.dumps(config | {name: value}))
        got = cytokit('resume', run)
        assert got.returncode == 2 and got.stderr.count('\n') == 1, (name, got.stderr)
