"A package that is not installed: one line with the command that installs it, from each verb that needs one."
import ast, configparser, re, sys
from pathlib import Path
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from cytokit_missing import CODE
from cytokit_process import COMMAND, cytokit, process
from cytokit.core import write_json

ROOT = Path(__file__).resolve().parents[1]

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Images, pairs, and a small run of each."
    home = tmp_path_factory.mktemp('home')
    small = '--epochs 1 --lr 0.003'
    for line in ['sample mri scans --n 24', f'train scans --method small --size 16 {small} --out run',
                 'sample cells cells --n 8 --set masks=true --set size=64 --set per_plate=2',
                 f'segment train cells --preset tiny --patch 32 {small} --out unet']:
        done = cytokit(*line.split(), cwd=home)
        assert done.returncode == 0, done.stderr
    write_json(home/'scan.zarr/.zarray', dict(zarr_format=2))
    import nibabel, numpy
    nibabel.save(nibabel.Nifti1Image(numpy.ones((8, 8, 8), 'i2'), numpy.eye(4)), home/'head.nii')
    return home

# A function that no verb calls
BIAS = """from cytokit.core import InputError
from cytokit.data.slices import VolumePreprocessing, cut_volume
import sys
try: cut_volume('head.nii', VolumePreprocessing(bias_correction=True))
except InputError as e: sys.exit(str(e))"""

# Package, its extra, and what a person types who needs it
CASES = [
    ('optuna', 'tune', 'tune scans --minutes 1'),
    ('psycopg', 'tune', 'tune scans --minutes 1 --storage postgresql://me@127.0.0.1/studies'),
    ('onnx', 'export', 'export run'),
    ('onnxruntime', 'export', 'export run'),
    ('onnxscript', 'export', 'export run'),
    ('bioimageio', 'export', 'export unet --to bioimageio'),
    ('SimpleITK', 'mri', BIAS),
    ('zarr', 'zarr', 'segment predict unet scan.zarr --out objects'),
    ('distributed', 'dask', 'check scans --executor dask://127.0.0.1:8786'),
    ('nbconvert', 'report', 'report run'),
    ('nbclient', 'report', 'report run'),
    ('nbformat', 'report', 'report run'),
    ('jupyter_client', 'report', 'report run'),
    ('ipykernel', 'report', 'report run'),
    ('huggingface_hub', 'report', 'report run'),
    ('rocrate', 'report', 'report run'),
    ('mlcroissant', 'report', 'report run'),
    ('otter', 'course', 'course made'),
    ('copier', 'project', 'new project mine'),
    ('jupyterlab', 'lab', 'review scans'),
]

@pytest.mark.parametrize('package,extra,line', CASES, ids=[package for package, *_ in CASES])
def test_the_message_is_the_command_that_installs_it(home, package, extra, line):
    before = sorted(home.rglob('*'))
    hidden = CODE.format(missing=(package,)) + f'assert {package!r} not in sys.modules\n'
    if line is BIAS: done = process(hidden + BIAS, cwd=home)
    else: done = process(hidden + COMMAND, *line.split(), cwd=home)
    assert done.returncode in (1, 2) and done.stderr.count('\n') == 1, done.stderr
    assert f'pip install "cytokit-nb[{extra}]"' in done.stderr and package in done.stderr, done.stderr
    new = {path.name for path in home.rglob('*') if path not in before}
    # What reports on images has a row for each that could not be read; the board of a review is written all the same
    board = {'cytokit_plan_review.ipynb', 'cytokit_plan.csv', '.cytokit_plan.csv.lock'}
    whole = dict(zarr={'objects', 'images.csv'}, lab=board).get(extra, set())
    assert new == whole, 'half of a result'

@pytest.mark.parametrize('line', ['lessons course', 'new lesson mine'])
def test_without_jupyterlab_what_is_written_is_told_how_to_be_opened(tmp_path, line):
    "Jupyter is no part of the plain package: the command that opens a lesson would not be found."
    done = process(CODE.format(missing=('jupyterlab',)) + COMMAND, *line.split(), cwd=tmp_path)
    assert done.returncode == 0 and 'pip install "cytokit-nb[lab]", and then jupyter lab' in done.stdout, done
    assert 'pip install' not in cytokit('lessons', 'again', cwd=tmp_path).stdout

def settings():
    ini = configparser.ConfigParser(delimiters=['='], interpolation=None)
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    return ini['DEFAULT']

def extras():
    "Extra: its requirements."
    lines = [line.split(':', 1) for line in settings()['extras'].splitlines() if line]
    return {name.strip(): needs.split() for name, needs in lines}

def test_every_extra_says_what_it_is_for():
    "In a comment above it, which the page of the command prints too."
    text = (ROOT/'settings.ini').read_text(encoding='utf-8').partition('\nextras =\n')[2]
    said = dict((name, why) for why, name in re.findall(r'^    # (.+)\n    (\w+):', text, re.M))
    assert list(said) == list(extras())
    page = (ROOT/'nbs/cli/00_command.ipynb').read_text(encoding='utf-8')
    for name, why in said.items(): assert f'| `{name}` | {why} |' in page, name

def test_what_the_tests_need_is_in_dev():
    of_dev = {canonicalize_name(Requirement(need).name) for need in extras()['dev']}
    for name, needs in extras().items():
        if name in ('dask', 'dev'): continue  # a cluster is tested where Dask is installed
        missing = {canonicalize_name(Requirement(need).name) for need in needs} - of_dev
        assert missing - {'ipykernel'} == set(), name  # JupyterLab brings the kernel

# Comes with a package that is required: fastai, ipywidgets, pooch, copier, optuna
BROUGHT = {'fastcore', 'IPython', 'traitlets', 'requests', 'plumbum', 'sqlalchemy'}
NAMES = {'PIL': 'pillow', 'skimage': 'scikit-image', 'sklearn': 'scikit-learn', 'yaml': 'pyyaml',
         'lazy_loader': 'lazy-loader'}

def imported_modules():
    "The packages that cytokit imports anywhere."
    for path in sorted((ROOT/'cytokit').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import): yield from (name.name.partition('.')[0] for name in node.names)
            if isinstance(node, ast.ImportFrom) and not node.level: yield node.module.partition('.')[0]

def test_no_optional_import_is_forgotten():
    "What is neither required nor in the list above would end with a traceback where it is missing."
    required = {canonicalize_name(Requirement(need).name) for need in settings()['requirements'].split()}
    others = set(imported_modules()) - set(sys.stdlib_module_names) - BROUGHT - {'cytokit'}
    optional = {name for name in others if canonicalize_name(NAMES.get(name, name)) not in required}
    elsewhere = {'pillow_heif'}  # tests/test_first_minutes.py: a file that cannot be read
    assert optional - elsewhere <= {package for package, *_ in CASES}, optional
