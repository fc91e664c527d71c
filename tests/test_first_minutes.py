"The first ten minutes of a person with a folder: odd files and places, given to the command as a process."
import json, os, re, shlex, shutil, subprocess, sys, tarfile, unicodedata, zipfile
from importlib.util import find_spec
import nibabel, numpy as np, pandas as pd, pydicom, pytest, tifffile
from PIL import Image, ImageOps
from pydicom.data import get_testdata_file
from cytokit_process import cytokit
from cytokit.core import plain_cell
from cytokit.data.formats import read_image
from cytokit.data.preprocess import Preprocessing, find_images, load
from cytokit.data.synthetic import write_sample
from cytokit.quality.check import _picture
from cytokit.quality.images import read_plane
from cytokit.teaching.review_images import thumbnail

SMALL = ['--epochs', '1', '--size', '16', '--lr', '0.001']


def noise(seed, shape=(24, 32, 3), dtype='u1'):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)

def photographs(folder, n=6, suffix='.png', names='ab', **options):
    "Two class folders of small images, each different."
    for k, name in enumerate(names):
        (folder/name).mkdir(parents=True, exist_ok=True)
        for i in range(n): Image.fromarray(noise(100*k + i)//(k + 1)).save(folder/name/f'{i}{suffix}', **options)
    return folder

def refused(p, *words):
    "One line on stderr and exit code 2; the line."
    one_line = p.stderr.count('\n') == 1 and p.stderr.startswith('cytokit: ')
    assert p.returncode == 2 and one_line, (p.returncode, p.stderr)
    for word in words: assert word in p.stderr, p.stderr
    return p.stderr

def right(p, *words):
    "Exit code 0; what it printed."
    assert p.returncode == 0 and 'Traceback' not in p.stderr, (p.returncode, p.stdout, p.stderr)
    for word in words: assert word in p.stdout, p.stdout
    return p.stdout

def commands(text):
    "The commands that an output suggests, as the words that a shell makes of them."
    found = re.findall(r'(?:Next|New images|To see them|to go on): (cytokit .*)', text)
    return [shlex.split(line)[1:] for line in found]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A finished training."
    home = tmp_path_factory.mktemp('trained')
    right(cytokit('train', photographs(home/'x'), *SMALL, '--out', 'run', cwd=home))
    return home/'run'


# ---- photographs from a telephone

def turned(path, orientation, **options):
    "A photograph that a telephone held in one of eight ways has written."
    image = Image.fromarray(np.kron(noise(7, (3, 4, 3)), np.ones((16, 16, 1), 'u1')))
    exif = image.getexif()
    exif[274] = orientation
    image.save(path, exif=exif, **options)
    return np.asarray(ImageOps.exif_transpose(Image.open(path)))

@pytest.mark.parametrize('suffix, options', [('.jpg', {}), ('.png', {}), ('.webp', dict(lossless=True)), ('.tif', {})])
def test_photographs_are_upright_wherever_they_are_read(suffix, options, tmp_path):
    as_it_is = Preprocessing(size=64, norm='dtype', resize_mode='stretch')
    for orientation in range(1, 9):
        path = tmp_path/f'{orientation}{suffix}'
        upright = turned(path, orientation, **options)
        plain = Image.fromarray(upright)
        plain.save(tmp_path/'upright.png')
        assert np.array_equal(read_image(path).array, upright), orientation
        ways = dict(training=lambda path: load(path, as_it_is), check=lambda path: read_plane(path)[1], page=_picture,
                    review=lambda path: thumbnail(path, as_it_is, 224))
        for name, way in ways.items():
            assert np.array_equal(way(path), way(tmp_path/'upright.png')), (orientation, name)

def test_the_camera_position_changes_no_prediction(run, tmp_path):
    "Eight photographs held in eight ways, and the same upright."
    for name in ('turned', 'upright'): (tmp_path/name).mkdir()
    for k in range(1, 9): Image.fromarray(turned(tmp_path/'turned'/f'{k}.png', k)).save(tmp_path/'upright'/f'{k}.png')
    for name in ('turned', 'upright'): right(cytokit('predict', run, name, '--csv', f'{name}.csv', cwd=tmp_path))
    one, two = (pd.read_csv(tmp_path/f'{name}.csv').filter(like='score_') for name in ('turned', 'upright'))
    assert np.allclose(one, two, atol=1e-5)

def test_jpeg_in_cmyk_and_progressive(tmp_path):
    a = np.kron(noise(1, (4, 4, 3)), np.ones((16, 16, 1), 'u1'))
    Image.fromarray(a).convert('CMYK').save(tmp_path/'cmyk.jpg', quality=98)
    Image.fromarray(a).save(tmp_path/'progressive.jpg', progressive=True, quality=98)
    for name in ('cmyk', 'progressive'):
        got = read_image(tmp_path/f'{name}.jpg').array.astype(int)
        assert got.shape == a.shape and np.abs(got - a).mean() < 12, name

def test_gif_and_webp(tmp_path):
    a = noise(2, (20, 30, 3))
    Image.fromarray(a).save(tmp_path/'a.webp', lossless=True)
    Image.fromarray(a[..., 0]).save(tmp_path/'a.gif')
    assert np.array_equal(read_image(tmp_path/'a.webp').array, a)
    assert np.array_equal(read_image(tmp_path/'a.gif').array, a[..., 0])
    frames = [Image.fromarray(noise(i, (20, 30))) for i in range(3)]
    for suffix in ('gif', 'webp'):
        film = tmp_path/f'film.{suffix}'
        frames[0].save(film, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match='animated .* of 3 images; save the one that is meant'): read_image(film)

def heic(path):
    "A file that begins as one of a telephone does."
    path.write_bytes(bytes([0, 0, 0, 24]) + b'ftypheic' + bytes(4) + b'mif1heic' + bytes(500))

@pytest.mark.skipif(find_spec('pillow_heif') is not None, reason='pillow-heif is installed')
def test_heic_among_jpeg_is_reported_and_says_what_to_install(tmp_path):
    photographs(tmp_path/'x', suffix='.jpg')
    heic(tmp_path/'x'/'a'/'IMG_0001.HEIC')
    out = right(cytokit('check', 'x', '--json', 'check.json', cwd=tmp_path), '13 images', 'unreadable')
    assert 'IMG_0001.HEIC' in out and 'pip install pillow-heif' in (tmp_path/'check.json').read_text()
    p = cytokit('train', 'x', *SMALL, '--out', 'run', cwd=tmp_path)
    refused(p, 'IMG_0001.HEIC', 'HEIC photograph', 'pip install pillow-heif')

@pytest.mark.skipif(find_spec('pillow_heif') is None, reason='pillow-heif is not installed')
def test_heic_is_read_upright(tmp_path):
    import pillow_heif
    pillow_heif.register_heif_opener()
    upright = turned(tmp_path/'a.heic', 6, quality=95).astype(int)
    got = read_image(tmp_path/'a.heic').array
    assert got.shape == upright.shape and np.abs(got - upright).mean() < 12


# ---- what is no image

def test_an_archive_says_unpack(run, tmp_path):
    with zipfile.ZipFile(tmp_path/'cells.zip', 'w') as z: z.writestr('a/1.png', b'')
    with tarfile.open(tmp_path/'cells.tar.gz', 'w:gz') as t: t.add(tmp_path/'cells.zip', 'a.png')
    (tmp_path/'cells.7z').write_bytes(b'7z\xbc\xaf\x27\x1c' + bytes(99))
    commands = ['check', '{}'], ['train', '{}'], ['predict', run, '{}', '--csv', 'p.csv']
    for (verb, *args), name in zip(commands, ('cells.zip', 'cells.tar.gz', 'cells.7z')):
        p = cytokit(verb, *(name if arg == '{}' else arg for arg in args), cwd=tmp_path)
        assert p.returncode == 2 and f'{name}: a packed folder (archive); unpack it' in p.stderr, p.stderr

@pytest.mark.parametrize('suffix', ['.czi', '.lif', '.nd2', '.vsi', '.svs', '.oib'])
def test_a_microscope_format_says_how_to_export(suffix, tmp_path):
    path = tmp_path/f'slide{suffix}'
    path.write_bytes(b'ZISRAWFILE' + bytes(500))
    with pytest.raises(ValueError, match=r'microscope file \(.*Fiji.*Bio-Formats.*TIFF'): read_image(path)

def test_a_slide_is_a_tiff_inside_and_says_how_to_export(tmp_path):
    with tifffile.TiffWriter(tmp_path/'slide.svs') as t:
        for n in (64, 32): t.write(noise(n, (n, n, 3)))
    with pytest.raises(ValueError, match='Aperio.*Bio-Formats'): read_image(tmp_path/'slide.svs')

def test_microscope_files_among_images_are_reported(tmp_path):
    photographs(tmp_path/'x')
    (tmp_path/'x'/'a'/'raw.czi').write_bytes(b'ZISRAWFILE')
    assert 'raw.czi' in right(cytokit('check', 'x', cwd=tmp_path), '13 images', 'unreadable')
    p = cytokit('train', 'x', *SMALL, '--out', 'run', cwd=tmp_path)
    right(p)
    assert '1 file is left out' in p.stderr and 'raw.czi' in p.stderr and 'Bio-Formats' in p.stderr
    p = cytokit('predict', 'run', 'x', '--csv', 'p.csv', cwd=tmp_path)
    right(p, '12 images predicted')
    assert '1 file is left out' in p.stderr

def test_a_folder_without_images_says_what_it_holds(tmp_path):
    for name in ('empty', 'slides', 'notes'): (tmp_path/name).mkdir()
    (tmp_path/'slides'/'one.nd2').write_bytes(b'nd2')
    for name in 'abc': (tmp_path/'notes'/f'{name}.docx').write_bytes(b'PK')
    for verb in ('check', 'train'):
        empty = cytokit(verb, 'empty', cwd=tmp_path)
        refused(empty, 'no image in it', 'empty', 'give the folder that holds the images')
        refused(cytokit(verb, 'slides', cwd=tmp_path), 'no image in it', 'Nikon', 'Bio-Formats')
        refused(cytokit(verb, 'notes', cwd=tmp_path), '3 with .docx', 'PNG')
        refused(cytokit(verb, 'nowhere', cwd=tmp_path), 'nowhere: no such')

def test_one_class_and_no_class_say_what_to_do(tmp_path):
    refused(cytokit('train', photographs(tmp_path/'one', names='a')), 'at least two classes')
    refused(cytokit('train', tmp_path/'one'/'a'), 'into the folder of its class', 'CSV')
    assert 'cytokit train takes both' in right(cytokit('check', tmp_path/'one'/'a'))

def test_images_and_masks_are_no_classes(tmp_path):
    home = tmp_path/'mit Masken'
    photographs(home, names=['images', 'masks'])
    err = refused(cytokit('train', home), 'no classes')
    assert commands(err.replace('to train on masks', 'Next'))[0] == ['segment', 'train', str(home)]
    out = right(cytokit('check', 'mit Masken', cwd=tmp_path), '6 images')
    assert ['segment', 'train', 'mit Masken'] in commands(out)


def test_a_diary_is_found_where_the_runs_are(run, tmp_path):
    right(cytokit('diary', cwd=run.parent), 'run  train x')
    refused(cytokit('diary', cwd=tmp_path), 'runs: no diary.jsonl in it')


# ---- volumes

def test_what_is_suggested_leads_from_volumes_to_a_training(tmp_path):
    words, verbs = ['sample', 'mri', 'kleine Köpfe', '--n', '8', '--volumes'], []
    while words[0] != 'train':
        verbs.append(words[0])
        words = commands(right(cytokit(*words, cwd=tmp_path)))[-1]
    assert verbs == ['sample', 'check', 'slice', 'check']
    right(cytokit(*words, *SMALL, cwd=tmp_path), 'Run folder')


def volumes_with_own_columns(folder):
    "Six small volumes of three patients, in a CSV whose columns have names of their own."
    folder.mkdir()
    how = dict(photometric='minisblack', metadata=dict(axes='ZYX'))
    for k in range(6): tifffile.imwrite(folder/f'{k}.tif', noise(k, (5, 24, 24)), **how)
    rows = [(f'{k}.tif', k % 2, f'p{k//2}') for k in range(6)]
    pd.DataFrame(rows, columns=['file', 'grade', 'patient']).to_csv(folder/'list.csv', index=False)
    return folder/'list.csv'

def test_columns_of_a_table_are_kept_from_volumes_to_a_check_of_slices(tmp_path):
    volumes_with_own_columns(tmp_path/'x')
    named = ['--image', 'file', '--target', 'grade', '--task', 'class', '--group', 'patient']
    out = right(cytokit('check', 'x/list.csv', *named, '--json', 'check.json', cwd=tmp_path))
    suggested = commands(out)[-1]
    assert suggested == ['slice', 'x/list.csv', 'slices', *named]
    how = ['--n', 1, '--part', '0,1', '--spacing', 0, '--no-crop']
    out = right(cytokit(*suggested, *how, cwd=tmp_path), '6 slices of 6 volumes')
    assert commands(out)[-1] == ['check', 'slices/table.csv', '--task', 'class']
    slices = pd.read_csv(tmp_path/'slices'/'table.csv')
    assert list(slices['target']) == [0, 1]*3 and list(slices['group']) == ['p0', 'p0', 'p1', 'p1', 'p2', 'p2']

def test_columns_of_a_csv_are_refused_where_masks_are_the_targets(tmp_path):
    photographs(tmp_path/'x', names=['images', 'masks'])
    refused(cytokit('slice', 'x', 'y', '--target', 'grade', cwd=tmp_path), '--target', 'masks are the targets')


def test_a_volume_with_a_mask_of_one_plane_names_the_way_to_slices(tmp_path):
    for name in ('images', 'masks'): (tmp_path/'x'/name).mkdir(parents=True)
    how = dict(photometric='minisblack', metadata=dict(axes='ZYX'))
    for k in range(4):
        tifffile.imwrite(tmp_path/'x'/'images'/f'{k}.tif', noise(k, (5, 48, 48)), **how)
        Image.fromarray((noise(k, (48, 48)) > 127).astype('u1')*255).save(tmp_path/'x'/'masks'/f'{k}.png')
    words = 'a volume of 5×48×48 voxels', 'is one plane', '`cytokit slice`'
    refused(cytokit('-q', 'segment', 'train', 'x', '--preset', 'tiny', '--patch', '32', cwd=tmp_path), *words)
    refused(cytokit('-q', 'slice', 'x', 'y', '--spacing', '0', cwd=tmp_path), *words)


# ---- what the numbers are worth

def test_predictions_of_training_images_are_named_as_such(run, tmp_path):
    done = right(cytokit('predict', run, run.parent/'x', '--csv', 'p.csv', cwd=tmp_path))
    assert f'{json.loads((run/"result.json").read_text())["n_train"]} of 12 images are training images' in done
    done = right(cytokit('predict', run, photographs(tmp_path/'new'), '--csv', 'p.csv', cwd=tmp_path))
    assert 'training images' not in done

def test_a_training_with_few_groups_says_what_its_intervals_rest_on(tmp_path):
    photographs(tmp_path/'x')
    done = cytokit('train', 'x', *SMALL, '--group', r'(\d)\.png$', '--out', 'run', cwd=tmp_path)
    assert re.search(r'intervals rest on \d groups? of the validation part: too few', right(done)), done.stdout

def test_the_first_line_of_a_check_says_how_much_and_how_severe(tmp_path):
    photographs(tmp_path/'x')
    (tmp_path/'x'/'a'/'0.png').write_bytes(b'\x89PNG, cut')
    out = right(cytokit('check', 'x', '--json', 'check.json', cwd=tmp_path))
    found = json.loads((tmp_path/'check.json').read_text())['findings']
    n = [sum(row['severity'] == severity for row in found) for severity in ('error', 'warning', 'info')]
    pattern = r'12 images checked in [\d.]+ s: (\d+) findings? \((\d+) errors?, (\d+) warnings?, (\d+) remarks?\)$'
    assert [int(k) for k in re.match(pattern, out.splitlines()[0]).groups()] == [len(found), *n] and n[0] == 1

def test_files_that_share_a_name_are_shown_with_their_folder(tmp_path):
    photographs(tmp_path/'x')
    (tmp_path/'x'/'b'/'0.png').write_bytes(b'\x89PNG, cut')
    assert ' b/0.png' in right(cytokit('check', 'x', cwd=tmp_path))

def test_masks_that_a_table_names_are_no_images(tmp_path):
    right(cytokit('sample', 'cells', 'x', '--n', '6', '--set', 'masks=true', cwd=tmp_path))
    right(cytokit('check', 'x', cwd=tmp_path), '6 images checked')


# ---- what was typed is kept

def test_a_check_suggests_a_training_with_the_options_that_were_given(tmp_path):
    photographs(tmp_path/'x')
    named = ['--group', r'(\d)\.png$']
    out = right(cytokit('check', 'x', *named, '--plan', 'my plan.csv', '--json', 'check.json', cwd=tmp_path))
    see, train = commands(out)
    assert see == ['check', 'x', *named, '--html', 'check.html']
    assert train == ['train', 'x', *named, '--plan', 'my plan.csv']

def test_lr_suggests_the_training_with_its_options_and_its_rate(tmp_path):
    photographs(tmp_path/'x')
    typed = ['--size', '16', '--seed', '3', '--width', '16', '--no-balance', '--group', r'(\d)\.png$']
    done = cytokit('lr', 'x', *typed, '--figure', 'rate.png', cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    train = commands(done.stdout)[-1]
    *same, flag, rate = train
    assert flag == '--lr' and f'Learning rate {float(rate):.2g} is used' in done.stdout
    assert same[:2] == ['train', 'x'] and sorted(same[2:]) == sorted(typed)
    right(cytokit(*train, '--epochs', '1', '--out', 'run', cwd=tmp_path), 'Run folder')

def test_a_test_part_without_masks_is_left_out(tmp_path):
    "As challenges give it: `check` misses no masks there, and what it says to type next trains."
    cells = write_sample('cells', tmp_path/'cells', n=8, size=48, masks=True, per_plate=2)
    for name, part in (('image', 'images'), ('label', 'masks')):
        shutil.copytree(cells/part, tmp_path/'challenge'/'train'/name)
    shutil.copytree(cells/'images', tmp_path/'challenge'/'test'/'image')
    out = right(cytokit('check', 'challenge', cwd=tmp_path), '16 images', '(0 errors, ')
    following = commands(out)[-1]
    assert following == ['segment', 'train', 'challenge'] and 'mask_missing' not in out
    trained = cytokit(*following, '--preset', 'tiny', '--patch', '32', '--epochs', '1', '--out', 'unet', cwd=tmp_path)
    right(trained)
    assert 'challenge/test: has images and no masks, and is left out' in trained.stderr
    assert len(pd.read_csv(tmp_path/'unet'/'split.csv')) == 8

def test_masks_in_a_set_one_level_lower_are_no_images(tmp_path):
    "A folder as it comes out of an archive: each verb names the folder to give."
    photographs(tmp_path/'archive'/'set 1', names=['images', 'masks'])
    photographs(tmp_path/'archive'/'others', names='ab')
    within = os.path.join('archive', 'set 1')
    refused(cytokit('check', 'archive', cwd=tmp_path), within, f"cytokit check '{within}'")
    for verb in ('train', 'compare'):
        said = refused(cytokit(verb, 'archive', cwd=tmp_path), 'which are no classes')
        assert commands(said.replace('to train on masks', 'Next'))[0] == ['segment', 'train', str(tmp_path/within)]
    parts = tmp_path/'parts'
    for part in ('train', 'valid'): photographs(parts/part, names=['images', 'masks'])
    refused(cytokit('train', 'parts', cwd=tmp_path), f'cytokit segment train {parts}')

def test_volumes_of_no_class_are_cut_for_a_prediction(tmp_path):
    "A folder of NIfTI files of new patients."
    (tmp_path/'new').mkdir()
    for i in range(2):
        head = nibabel.Nifti1Image(noise(i, (20, 20, 20), 'i2'), np.eye(4))
        nibabel.save(head, tmp_path/'new'/f'p{i}.nii.gz')
    cut = cytokit('slice', 'new', 'slices', '--n', '3', cwd=tmp_path)
    right(cut, '6 slices of 2 volumes', 'cytokit predict RUN slices/images')
    assert len(find_images(tmp_path/'slices')) == 6
    refused(cytokit('slice', photographs(tmp_path/'x')/'a', 'more', cwd=tmp_path), 'expected a volume')


# ---- a scanner's export

def test_dicom_without_an_ending(tmp_path):
    home = tmp_path/'PAT 1'/'SER1'
    home.mkdir(parents=True)
    d = pydicom.dcmread(get_testdata_file('CT_small.dcm'))
    for k in range(4):
        d.InstanceNumber, d.ImagePositionPatient = k + 1, [0, 0, 5*k]
        d.save_as(home/f'IM{k:04d}')
        d.save_as(home/f'1.3.6.1.4.1.5962.{k}')
    shutil.copy(get_testdata_file('CT_small.dcm'), tmp_path/'PAT 1'/'DICOMDIR')
    (tmp_path/'PAT 1'/'README').write_text('Viewer: start.exe')
    out = right(cytokit('check', 'PAT 1', cwd=tmp_path), '8 images', '(0 errors, ')
    assert 'wrong_extension' not in out


# ---- places

UNHIDDEN = '.DS_Store', '._0.png', 'Thumbs.db', 'desktop.ini'

def test_hidden_files_and_thumbnails_are_no_images(tmp_path):
    photographs(tmp_path/'x')
    for name in UNHIDDEN: (tmp_path/'x'/'a'/name).write_bytes(b'\0\5\x16\7' + bytes(90))
    for folder in ('@eaDir', '__MACOSX', '.thumbnails'): photographs(tmp_path/'x'/'a'/folder)
    assert len(find_images(tmp_path/'x')) == 12
    right(cytokit('check', 'x', cwd=tmp_path), '12 images', '(0 errors, ')

NAMES = dict(NFC='Zellen ä', NFD=unicodedata.normalize('NFD', 'Zellen ä'), emoji='🔬 Hünd\'s "x" (neu)',
             dash='-neu', long='n'*200)

@pytest.mark.parametrize('name', NAMES.values(), ids=list(NAMES))
def test_every_command_that_is_suggested_can_be_typed(name, run, tmp_path):
    "From a folder of images to predictions, by typing what the line before said; names go through unchanged."
    home = photographs(tmp_path/name)
    given = f'./{name}' if name.startswith('-') else name
    see, train = commands(right(cytokit('check', given, cwd=tmp_path)))
    assert (see, train) == (['check', given, '--html', 'check.html'], ['train', given])
    shutil.copytree(run, tmp_path/f'{name} run')
    interpret, predict = commands(right(cytokit('resume', f'{given} run', cwd=tmp_path)))
    assert interpret == ['interpret', f'{given} run']
    right(cytokit(*see, cwd=tmp_path), 'check.html written')
    right(cytokit(*(given if word == 'FOLDER' else word for word in predict), cwd=tmp_path))
    table = pd.read_csv(tmp_path/'predictions.csv')
    assert len(table) == 12 and home.is_dir()
    assert all((tmp_path/plain_cell(image)).is_file() for image in table['image'])

def test_a_training_in_such_a_folder(tmp_path):
    "The run that `check` suggests, with the name that it gives itself."
    photographs(tmp_path/NAMES['emoji'])
    train = commands(right(cytokit('check', NAMES['emoji'], cwd=tmp_path)))[-1]
    interpret, predict = commands(right(cytokit(*train, *SMALL, cwd=tmp_path)))
    assert (tmp_path/interpret[1]/'result.json').is_file() and predict[1] == interpret[1]
    right(cytokit(*interpret, cwd=tmp_path))

def test_links_in_a_circle_and_folders_of_folders(tmp_path):
    deep = tmp_path/'x'/'a'/'plate'/'well'/'site'
    photographs(deep.parent, names=['site'])
    photographs(tmp_path/'x', names=['b'], n=5)
    (deep/'back').symlink_to(tmp_path/'x', target_is_directory=True)
    (deep/'self.png').symlink_to(deep/'self.png')
    (deep/'gone.png').symlink_to(tmp_path/'nowhere.png')
    found = find_images(tmp_path/'x')
    assert len([p for p in found if p.exists()]) == 11
    right(cytokit('check', 'x', cwd=tmp_path), 'unreadable')

def test_a_file_instead_of_a_folder(tmp_path):
    Image.fromarray(noise(1)).save(tmp_path/'one.png')
    right(cytokit('check', 'one.png', cwd=tmp_path), '1 image checked')
    refused(cytokit('train', 'one.png', cwd=tmp_path), 'is an image', 'folder')

def can_mount():
    "Whether a folder can be made read-only here, for one process."
    line = 'mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp && ! touch /tmp/x'
    if sys.platform != 'linux' or not shutil.which('unshare'): return False
    return not subprocess.run(['unshare', '-rm', 'bash', '-c', line], capture_output=True).returncode

def on_read_only(disk, *args, **env):
    "The command, with `disk` mounted read-only."
    place = shlex.quote(str(disk))
    line = f'mount --bind {place} {place} && mount -o remount,ro,bind {place} && cd {place} && exec "$@"'
    code = 'from cytokit.cli import entry; entry()'
    words = ['unshare', '-rm', 'bash', '-c', line, 'bash', sys.executable, '-c', code, *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **env})

@pytest.mark.skipif(not can_mount(), reason='nothing can be mounted here')
def test_a_disk_that_may_only_be_read(tmp_path):
    disk = tmp_path/'read only'
    photographs(disk/'x')
    cache = dict(CYTOKIT_CACHE=str(disk/'cache'))
    right(on_read_only(disk, 'check', 'x', **cache), '12 images')
    refused(on_read_only(disk, 'train', 'x', *SMALL, **cache), '--out FOLDER')
    refused(on_read_only(disk, 'cache', **cache), 'CYTOKIT_CACHE')
    trained = on_read_only(disk, 'train', 'x', *SMALL, '--out', tmp_path/'run', **cache)
    right(trained, f'Run folder: {tmp_path}/run')
    predict = ['predict', tmp_path/'run', 'x', '--csv']
    refused(on_read_only(disk, *predict, 'p.csv', **cache), 'where you may write')
    right(on_read_only(disk, *predict, tmp_path/'p.csv', **cache), '12 images predicted')


# ---- typing

def test_a_wrong_word_gets_a_suggestion(tmp_path):
    assert "Did you mean 'check'" in refused(cytokit('chek', 'x'))
    assert '--epochs?' in refused(cytokit('train', 'x', '--epoch', '3'))
    assert 'Folder of class folders' in refused(cytokit('train'))

def test_a_run_folder_that_exists_is_refused_before_the_images_are_read(run, tmp_path):
    shutil.copytree(run, tmp_path/'my run')
    shutil.copytree(run.parent/'x', tmp_path/'x')
    refused(cytokit('train', 'nowhere', *SMALL, '--out', 'my run', cwd=tmp_path), 'my run: exists already', '--out')
    (tmp_path/'my run'/'result.json').unlink()
    assert "cytokit resume 'my run'" in refused(cytokit('train', 'x', *SMALL, '--out', 'my run', cwd=tmp_path))
    right(cytokit('resume', 'my run', cwd=tmp_path))
