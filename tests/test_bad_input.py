"""What a person can get wrong, given to the real command: a right result or one clear line and exit code 2, never a traceback.

Odd image files are tried one by one in test_images_odd.py, tables and downloads in test_datasets.py.
"""
import json, os, shutil
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image as PIL
from cytokit.cli import main

def save(path, seed=0, shape=(24, 24)):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)).save(path)
    return path

def two_classes(folder, n=6):
    for c in 'ab':
        for i in range(n): save(folder/c/f'{i}.png', seed=100*ord(c) + i)
    return folder

def no_folder(d): return d/'nowhere'
def a_file(d): return save(d/'one.png')
def empty_folder(d): (d/'e').mkdir(); return d/'e'
def no_image_at_all(d): (d/'x'/'a').mkdir(parents=True); (d/'x'/'a'/'notes.txt').write_text('hello'); return d/'x'
def one_class(d): [save(d/'x'/'only'/f'{i}.png', i) for i in range(5)]; return d/'x'
def one_image_a_class(d): [save(d/'x'/c/'0.png', ord(c)) for c in 'abcd']; return d/'x'
def truncated_image(d):
    p = two_classes(d/'x')/'a'/'0.png'
    p.write_bytes(p.read_bytes()[:100]); return d/'x'
def empty_image(d): (two_classes(d/'x')/'b'/'3.png').write_bytes(b''); return d/'x'
def text_named_png(d): (two_classes(d/'x')/'b'/'3.png').write_text('not a picture'); return d/'x'
def two_channels_among_three(d):
    import tifffile
    two_classes(d/'x')
    for i, n in enumerate((2, 4)): tifffile.imwrite(d/'x'/'a'/f'c{i}.tif', np.random.default_rng(i).integers(0, 9999, (24, 24, n), dtype=np.uint16), photometric='minisblack', planarconfig='contig')
    return d/'x'
def group_in_both_splits(d):
    two_classes(d/'x')
    rows = [(f'{c}/{i}.png', c, 'p1', 'train' if i < 4 else 'valid') for c in 'ab' for i in range(6)]
    pd.DataFrame(rows, columns=['image', 'target', 'group', 'split']).to_csv(d/'x'/'table.csv', index=False); return d/'x'
def same_picture_in_both_splits(d):
    for s in ('train', 'valid'): two_classes(d/'x'/s)
    return d/'x'
def csv_without_columns(d): (d/'t.csv').write_text('file,label\na.png,x\n'); return d/'t.csv'
def csv_empty(d): (d/'t.csv').write_text(''); return d/'t.csv'
def csv_binary(d): (d/'t.csv').write_bytes(bytes(range(256))*20); return d/'t.csv'
def csv_missing_files(d): (d/'t.csv').write_text('image,target\nno1.png,a\nno2.png,b\n'); return d/'t.csv'
def csv_no_target(d):
    two_classes(d/'x'); (d/'x'/'t.csv').write_text('image,target\na/0.png,\nb/0.png,\n'); return d/'x'/'t.csv'
def class_missing_in_train(d):
    two_classes(d/'x')
    pd.DataFrame([(f'{c}/{i}.png', c, 'valid' if c == 'b' or i > 3 else 'train') for c in 'ab' for i in range(6)], columns=['image', 'target', 'split']).to_csv(d/'x'/'table.csv', index=False)
    return d/'x'
def link_loop_only(d): (d/'x'/'a').mkdir(parents=True); (d/'x'/'a'/'again').symlink_to(d/'x', target_is_directory=True); return d/'x'

BAD = [no_folder, a_file, empty_folder, no_image_at_all, one_class, one_image_a_class, truncated_image, empty_image, text_named_png, two_channels_among_three, group_in_both_splits,
       same_picture_in_both_splits, csv_without_columns, csv_empty, csv_binary, csv_missing_files, csv_no_target, class_missing_in_train, link_loop_only]

def one_line(capsys, code):
    out, err = capsys.readouterr()
    assert code == 2 and err.count('\n') == 1 and err.startswith('cytokit: ') and len(err) > 25, (code, out, err)
    assert 'Traceback' not in err
    return err

@pytest.mark.parametrize('make', BAD, ids=lambda f: f.__name__)
@pytest.mark.parametrize('verb', ['train', 'compare'])
def test_bad_source(make, verb, tmp_path, capsys):
    source = make(tmp_path)
    extra = ['--methods', 'small'] if verb == 'compare' else []
    err = one_line(capsys, main([verb, str(source), '--epochs', '1', '--size', '16', '--out', str(tmp_path/'run'), *extra]))
    print(make.__name__, err)

GOOD = {
    'names with spaces, quotes, newlines': ['a b', 'it\'s "q"', 'new\nline'],
    'names in other alphabets': ['細胞', 'клетка', 'كلية'],
}
@pytest.mark.parametrize('names', GOOD.values(), ids=list(GOOD))
def test_strange_names_train_and_predict(names, tmp_path, capsys):
    for n in names:
        for i in range(6): save(tmp_path/'data'/n/f'{n} {i}.png', seed=100*sum(map(ord, n)) + i)
    assert main(['train', str(tmp_path/'data'), '--epochs', '1', '--size', '16', '--out', str(tmp_path/'run')]) == 0
    assert main(['predict', str(tmp_path/'run'), str(tmp_path/'data'), '--csv', str(tmp_path/'p.csv')]) == 0
    assert set(pd.read_csv(tmp_path/'p.csv')['predicted']) <= set(names)
    assert main(['rerun', str(tmp_path/'run')]) == 0

@pytest.mark.parametrize('args', [
    ['--epochs', '0'], ['--epochs', 'x'], ['--batch-size', '0'], ['--lr', '-1'], ['--seconds', '0'], ['--augment', 'wild'], ['--size', '0'], ['--norm', 'magic'], ['--resize-mode', 'bend'],
    ['--method', 'huge'], ['--valid', '0'], ['--valid', '1.5'], ['--channels', '0'], ['--method', 'frozen', '--weights', 'nowhere.safetensors'], ['--method', 'frozen', '--weights', 'hub', '--arch', 'no_such_net'],
    ['--target', 'nothing'], ['--patience', '0'], ['--precision', 'half'], ['--fly']], ids=' '.join)
def test_bad_option(args, tmp_path, capsys):
    one_line(capsys, main(['train', str(two_classes(tmp_path/'x')), '--size', '16', '--out', str(tmp_path/'run'), *args]))
    assert not (tmp_path/'run').exists()  # nothing half-made

@pytest.mark.parametrize('name, value', [('CYTOKIT_CACHE_GB', 'much'), ('CYTOKIT_PRECISION', 'half')])
def test_bad_variable(name, value, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(name, value)
    assert name.split('_')[1].lower() in one_line(capsys, main(['train', str(two_classes(tmp_path/'x')), '--size', '16', '--epochs', '1', '--out', str(tmp_path/'run')])).lower()

@pytest.mark.parametrize('make', [no_folder, empty_folder, one_class, truncated_image], ids=lambda f: f.__name__)
def test_bad_source_of_a_rate(make, tmp_path, capsys): one_line(capsys, main(['lr', str(make(tmp_path)), '--size', '16']))

def test_a_pickle_is_never_read(tmp_path, capsys):
    "A .pth may hold code; it is refused, not opened."
    class Boom:
        def __reduce__(self): return (os.system, (f'touch {tmp_path}/ran',))
    import pickle
    (tmp_path/'w.pth').write_bytes(pickle.dumps(Boom()))
    one_line(capsys, main(['train', str(two_classes(tmp_path/'x')), '--method', 'frozen', '--weights', str(tmp_path/'w.pth'), '--out', str(tmp_path/'run')]))
    assert not (tmp_path/'ran').exists()

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    d = tmp_path_factory.mktemp('trained')
    assert main(['train', str(two_classes(d/'x')), '--epochs', '1', '--size', '16', '--out', str(d/'run')]) == 0
    return d/'run'

def corrupt_dataset(run, tmp_path, name, change):
    copy = shutil.copytree(run, tmp_path/'run')
    path = copy/name
    if change is None: path.unlink()
    else: path.write_bytes(change(path.read_bytes()))
    return copy

@pytest.mark.parametrize('name', ['run.json', 'model.json', 'model.safetensors', 'result.json'])
@pytest.mark.parametrize('change', [None, lambda b: b'', lambda b: b[:len(b)//2], lambda b: b'\x00'*64, lambda b: b'[]', lambda b: b'{"verb": "train"}'], ids=['missing', 'empty', 'half', 'zeros', 'list', 'other'])
def test_spoiled_run_folder(run, tmp_path, capsys, name, change):
    if (name, change and change(b'xx')) in {('result.json', b'[]'), ('result.json', b'{"verb": "train"}'), ('run.json', b'{"verb": "train"}')}: return  # all that predicting needs is there
    copy = corrupt_dataset(run, tmp_path, name, change)
    capsys.readouterr()
    one_line(capsys, main(['predict', str(copy), str(save(tmp_path/'new.png')), '--csv', str(tmp_path/'p.csv')]))
    assert not (tmp_path/'p.csv').exists()

def test_grey_among_colour_is_read_as_colour(tmp_path, capsys):
    for i in range(3): save(two_classes(tmp_path/'x')/'a'/f'rgb{i}.png', 50 + i, (24, 24, 3))
    assert main(['train', str(tmp_path/'x'), '--epochs', '1', '--size', '16', '--out', str(tmp_path/'run')]) == 0
    assert json.loads((tmp_path/'run'/'run.json').read_text())['preprocessing']['channels'] == 3

def test_run_folder_is_never_written_over(run, tmp_path, capsys):
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    capsys.readouterr()
    one_line(capsys, main(['train', str(two_classes(tmp_path/'x')), '--out', str(run)]))
    assert before == {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}

OUTPUTS = ('check DATA --json FILE', 'check DATA --html FILE', 'check DATA --parquet FILE', 'train DATA --json FILE',
           'compare DATA --json FILE', 'interpret RUN --html FILE', 'predict RUN DATA --csv FILE',
           'segment measure DATA --csv FILE', 'segment evaluate RUN DATA --csv FILE', 'grade DATA --csv FILE',
           'diary RUN --markdown FILE', 'doctor RUN --json FILE', 'tune DATA --json FILE', 'export RUN --json FILE')

@pytest.mark.parametrize('line', OUTPUTS)
def test_an_option_replaces_no_file_of_the_user(line, run, tmp_path, capsys):
    table = tmp_path/'data'/'table.csv'
    table.parent.mkdir()
    table.write_text('Image;Target\na.png;b\n')
    words = dict(DATA=str(table.parent), RUN=str(run), FILE=str(table))
    said = one_line(capsys, main([words.get(word, word) for word in line.split()]))
    assert 'is there already' in said and table.read_text() == 'Image;Target\na.png;b\n'

def test_images_and_runs_are_not_replaced(run, tmp_path, capsys):
    image = tmp_path/'u.png'
    image.write_bytes(b'\x89PNG of a microscope')
    assert 'is not marked as drawn by matplotlib' in one_line(capsys, main(['lr', str(tmp_path), '--figure', str(image)]))
    assert 'belongs to a run' in one_line(capsys, main(['doctor', str(run), '--json', str(run/'model.json')]))
    assert image.read_bytes() == b'\x89PNG of a microscope'

def test_objects_are_not_written_between_other_files(tmp_path, capsys):
    (tmp_path/'notes.txt').write_text('mine')
    said = one_line(capsys, main(['segment', 'predict', 'unet', str(tmp_path), '--out', str(tmp_path)]))
    assert 'holds other files' in said and [p.name for p in tmp_path.iterdir()] == ['notes.txt']

def test_one_bad_file_costs_no_other(run, tmp_path, capsys):
    for i in range(3): save(tmp_path/'new'/f'{i}.png', i)
    (tmp_path/'new'/'bad.png').write_bytes(b'x')
    capsys.readouterr()
    one_line(capsys, main(['predict', str(run), str(tmp_path/'new'), '--csv', str(tmp_path/'p.csv')]))
    d = pd.read_csv(tmp_path/'p.csv')
    assert d['predicted'].notna().sum() == 3 and d['error'].notna().sum() == 1

@pytest.mark.parametrize('line', ['train DATA', 'lr DATA', 'compare DATA --methods majority,frozen-rgb8', 'tune DATA'])
def test_images_smaller_than_a_network_takes_are_refused(line, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = str(two_classes(tmp_path/'x'))
    said = one_line(capsys, main([data if word == 'DATA' else word for word in line.split()] + ['--size', '7']))
    assert said == 'cytokit: --size must be a whole number of 8 or more, got 7\n' and not (tmp_path/'runs').exists()

NAMED = {'train DATA --group PatientName': "--group 'PatientName' finds nothing", 'train DATA --valid 2': '--valid',
         'train DATA --low 5 --high 1': '--low and --high must be', 'compare DATA --folds 1': '--folds must be',
         'train DATA --loss mse': '--loss mse is for numbers'}

@pytest.mark.parametrize('line', NAMED)
def test_a_message_names_the_option_and_not_the_argument(line, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = str(two_classes(tmp_path/'x'))
    said = one_line(capsys, main([data if word == 'DATA' else word for word in line.split()] + ['--size', '16']))
    assert NAMED[line] in said, said

@pytest.mark.parametrize('seconds', ['0', '-1', 'nan'])
def test_a_doctor_without_time_is_refused(seconds, tmp_path, capsys):
    said = one_line(capsys, main(['doctor', str(two_classes(tmp_path/'x')), '--seconds', seconds]))
    assert said.startswith('cytokit: --seconds must be a number above 0, got ')

@pytest.mark.parametrize('verb', ['check', 'train', 'compare', 'find_rate', 'segment', 'read_table', 'resume', 'rerun', 'interpret', 'report', 'export'])
def test_none_in_python_is_refused_in_one_line(verb, tmp_path, monkeypatch):
    import cytokit
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='(source|folder|run) must be a path, as text or a Path, got None'): getattr(cytokit, verb)(None)

def test_a_way_out_that_the_verb_does_not_have_is_not_named(tmp_path, capsys):
    (tmp_path/'t.csv').write_text('file,mask\na.png,b.png\n')
    said = one_line(capsys, main(['segment', 'train', str(tmp_path/'t.csv')]))
    assert "one column 'image'" in said and 'rename it' in said and 'image=' not in said

def test_a_warning_is_one_plain_line(tmp_path, capsys):
    data = two_classes(tmp_path/'x')
    (tmp_path/'plan.csv').write_text('image,action,to\nx/a/0.png,fix,\n')
    args = ['--quiet', 'train', str(data), '--size', '16', '--epochs', '1', '--lr', '0.001', '--plan', str(tmp_path/'plan.csv')]
    assert main([*args, '--out', str(tmp_path/'run')]) == 0
    err = capsys.readouterr().err
    assert 'plan.csv: 1 image to fix is still in the table\n' in err
    assert 'Warning' not in err and '.py:' not in err and all(line.startswith('cytokit: ') for line in err.splitlines())

def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError): main(['--debug', 'train', str(tmp_path/'nowhere')])
