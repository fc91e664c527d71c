"`cytokit interpret` as a process, from another folder: what it says, and what it refuses in one line."
import shutil
import cytokit_process, numpy as np, pandas as pd, pytest, tifffile
from cytokit.core import read_json, write_json
from cytokit.data.preprocess import Preprocessing
from cytokit.data.synthetic import write_sample
from cytokit.evaluation.compare import compare
from cytokit.evaluation.results import results
from cytokit.training.fit import train

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A folder with a set, a run, a comparison and a small challenge set."
    home, small = tmp_path_factory.mktemp('interpret'), Preprocessing(size=32)
    write_sample('cells', home/'cells', 80, per_plate=4, effect=2.)
    train(home/'cells', out=home/'run', epochs=2, lr=3e-3, valid=.4, preprocessing=small)
    compare(home/'cells', ['majority', 'logistic'], out=home/'compare', preprocessing=small, valid=.4)
    write_sample('cells', home/'other', 16, seed=4, per_plate=4, effect=2.)
    return home

def process(home, *args):
    "Exit code, output and complaint of the command, started in a folder that is not the project's."
    done = cytokit_process.cytokit('interpret', *args, cwd=home)
    return done.returncode, done.stdout, done.stderr

def refused(*args, says):
    "The function refuses what the command would, in one line."
    from cytokit.cli import captured
    code, _, err = captured('interpret', *args)
    assert code == 2 and err.count('\n') == 1 and says in err, err

def test_process(home):
    code, out, err = process(home, 'run', '--challenge', 'other', '--html', 'page.html', '--json', 'found.json')
    assert code == 0, err
    assert out.startswith('1. On ') and 'Challenge set other' in out
    page, found = (home/'page.html').read_text(), read_json(home/'found.json')
    assert len(page) < 3_000_000 and page.count('<img') == page.count(' alt="') and '<script' not in page
    assert {'score', 'worst', 'confusion', 'slices', 'calibration', 'challenge'} <= set(found)

def test_process_refuses(home):
    code, _, err = process(home, 'cells')
    assert code == 2 and err.count('\n') == 1 and 'not a run folder' in err

def test_comparison(home):
    assert results(home/'compare').method == 'logistic'
    refused(home/'compare', '--challenge', home/'other', says='keeps no networks')

@pytest.fixture
def copy(home, tmp_path):
    "The run and its images, to be damaged."
    for name in ('cells', 'run'): shutil.copytree(home/name, tmp_path/name)
    return tmp_path

def test_moved_as_a_whole(home, copy):
    "Paths are relative: a run that moved with its images says the same."
    scores = [results(folder/'run').table.drop(columns='image') for folder in (home, copy)]
    assert scores[0].equals(scores[1])

def test_images_gone_or_changed(copy):
    first = sorted((copy/'cells').rglob('*.png'))[0]
    held = first.read_bytes()
    first.unlink()
    refused(copy/'run', says='images are missing')
    first.write_bytes(sorted((copy/'cells').rglob('*.png'))[1].read_bytes())
    refused(copy/'run', says='changed since this run was made')
    first.write_bytes(held)
    results(copy/'run')

def test_unfinished_and_other_verb(copy):
    config = read_json(copy/'run'/'run.json')
    write_json(copy/'run'/'run.json', config | dict(verb='paint'))
    refused(copy/'run', says='verb must be one of')
    write_json(copy/'run'/'run.json', config)
    (copy/'run'/'result.json').unlink()
    refused(copy/'run', says='not finished')

def test_no_validation_part(copy):
    split = copy/'run'/'split.csv'
    split.write_text(split.read_text().replace(',valid', ',train'))
    refused(copy/'run', says='no image is in valid')

@pytest.mark.parametrize('change, says', [
    (lambda t: t[:-2], 'rows, split.csv holds out'),
    (lambda t: t.assign(target=t['target'][::-1].to_numpy()), 'has target'),
    (lambda t: t.assign(score_treated=2.), 'add up to 1'),
    (lambda t: t.assign(predicted='treated'), 'not the class with the highest score'),
    (lambda t: t.drop(columns='score_treated'), 'has no column score_treated'),
    (lambda t: t.assign(score_treated='much'), 'must hold numbers')])
def test_predictions_edited(copy, change, says):
    file = copy/'run'/'predictions.csv'
    change(pd.read_csv(file)).to_csv(file, index=False)
    refused(copy/'run', says=says)

def images(folder, array, axes='YX', name='treated'):
    (folder/name).mkdir(parents=True)
    for i in range(3): tifffile.imwrite(folder/name/f'{i}.tif', array, imagej=True, metadata=dict(axes=axes))
    return folder

def test_bad_challenges(home, tmp_path):
    (tmp_path/'empty').mkdir()
    grey = np.arange(1024, dtype='u2').reshape(32, 32)
    owls = images(tmp_path/'owls', grey, name='owl')
    mixed = images(images(tmp_path/'mixed', grey), grey, name='owl')
    five = images(tmp_path/'five', np.stack([grey]*5), 'CYX')
    broken = images(tmp_path/'broken', grey)
    (broken/'treated'/'1.tif').write_bytes(b'II*\0 nothing')
    for folder, says in ((tmp_path/'empty', 'no image in it'), (tmp_path/'nowhere', 'no such folder'),
                         (owls, 'none of its classes'), (mixed, '3 of 6 images have classes'), (five, '5 channels'),
                         (broken, '1.tif')):
        refused(home/'run', '--challenge', folder, says=says)

def test_other_depth(home, tmp_path):
    "Noted where intensities are taken from each image."
    from cytokit.evaluation.challenge import challenge
    shallow = images(tmp_path/'shallow', np.arange(1024).reshape(32, 32).astype('u1'))
    assert 'uint8' in challenge(results(home/'run'), shallow).table['note'].iloc[1]
