"Is the project still sound? `pytest` takes seconds; `pytest -m slow` runs the notebooks as well."
import ast
import json
import subprocess
import sys
from copy import deepcopy
import pytest
from project import HOME, data_folder, load_table, newest_run, read_settings

NOTEBOOKS = sorted(HOME.glob('*.ipynb'))
METRICS = ['balanced_accuracy', 'auc', 'macro_f1', 'accuracy']


@pytest.fixture
def settings():
    return read_settings()


@pytest.fixture
def small(settings, tmp_path):
    "The settings with a tiny sample in a folder of its own."
    small = deepcopy(settings)
    small['data'] = {'folder': str(tmp_path/'sample'), 'sample': {'kind': 'mri', 'n': 24, 'slices': 2, 'size': 32}}
    return small


def test_settings_make_sense(settings):
    assert settings['metric'] in METRICS
    assert 0 < settings['split']['valid'] < 1
    assert 0 <= settings['split']['test'] < 1
    assert settings['split']['valid'] + settings['split']['test'] < 1
    assert settings['training']['seeds'] >= 1


def test_comparison_holds_a_baseline(settings):
    "A score means nothing alone."
    assert {'majority', 'logistic'} & set(settings['training']['methods'])


@pytest.mark.parametrize('heading', ['Question', 'Metric', 'Baseline', 'Stopping rule'])
def test_card_says(heading):
    card = (HOME/'card.md').read_text(encoding='utf-8')
    parts = card.split(f'\n## {heading}\n')
    assert len(parts) == 2, f'card.md needs one part "## {heading}"'
    assert parts[1].split('\n## ')[0].strip(), f'the part "{heading}" of card.md is empty'


def test_card_and_settings_name_the_same_metric(settings):
    card = (HOME/'card.md').read_text(encoding='utf-8')
    assert f'`{settings["metric"]}`' in card, 'card.md and settings.toml name different metrics'


def test_no_group_is_on_two_sides(small):
    table = load_table(small)
    sides = table.groupby('group')['split'].nunique()
    assert (sides == 1).all()
    assert set(table['split']) == {'train', 'valid', 'test'}


def test_no_group_of_the_own_images_is_on_two_sides(settings):
    if not (HOME/settings['data']['folder']).exists():
        pytest.skip('the images are not here yet: run 1_data.ipynb')
    table = load_table(settings)
    if 'group' not in table:
        pytest.skip('the table has no groups; are the images really independent of each other?')
    assert (table.groupby('group')['split'].nunique() == 1).all()


def test_split_is_the_same_each_time(small):
    assert load_table(small)['split'].tolist() == load_table(small)['split'].tolist()


def test_sample_is_not_made_twice(small):
    folder = data_folder(small)
    before = (folder/'table.csv').stat().st_mtime_ns
    data_folder(small)
    assert (folder/'table.csv').stat().st_mtime_ns == before


def test_newest_run_is_the_last_finished_one(tmp_path):
    for name in ('2026-01-01_train_a', '2026-01-02_train_a', '2026-01-03_compare_a'):
        (tmp_path/name).mkdir()
        (tmp_path/name/'result.json').write_text('{}')
    (tmp_path/'2026-01-04_train_a').mkdir()  # was cut short
    assert newest_run('train', tmp_path).name == '2026-01-02_train_a'
    with pytest.raises(FileNotFoundError, match='2_training'):
        newest_run('segment', tmp_path)


def plain(source):
    "The source of a cell without the lines that only Jupyter understands."
    return '\n'.join(line for line in source.splitlines() if not line.lstrip().startswith(('%', '!')))


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_can_be_read(path):
    notebook = json.loads(path.read_text(encoding='utf-8'))
    assert notebook['cells'][0]['cell_type'] == 'markdown', 'a notebook begins with what it is about'
    for cell in notebook['cells']:
        if cell['cell_type'] == 'code':
            ast.parse(plain(''.join(cell['source'])))


@pytest.mark.slow
def test_notebooks_run_from_top_to_bottom(tmp_path):
    for path in NOTEBOOKS:
        command = [sys.executable, '-m', 'nbconvert', '--to', 'notebook', '--execute', str(path),
                   '--output-dir', str(tmp_path)]
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
