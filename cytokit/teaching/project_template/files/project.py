"The few functions that the notebooks share. Each can be tested: see tests/."
from pathlib import Path
from cytokit import Preprocessing, read_table, split_table, write_sample
try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

HOME = Path(__file__).resolve().parent


def read_settings(path=HOME/'settings.toml'):
    "What settings.toml says, as a dict of dicts."
    return tomllib.loads(Path(path).read_text(encoding='utf-8'))


def data_folder(settings):
    "Where the images are; the synthetic sample is made here where it is asked for and missing."
    folder = HOME/settings['data']['folder']
    sample = settings['data'].get('sample')
    if sample and not folder.exists():
        write_sample(out=folder, seed=settings['seed'], **sample)
    return folder


def load_table(settings):
    "A row for each image, with its class, group and part of the split: the same table in all notebooks."
    table = read_table(data_folder(settings))
    return split_table(table, **settings['split'], seed=settings['seed'])


def preprocessing(settings):
    "How an image becomes the input of the network: the same in training, prediction and figures."
    return Preprocessing(size=settings['training']['size'])


def newest_run(verb, folder=HOME/'runs'):
    "The newest finished run folder of a verb, such as 'train'."
    done = sorted(Path(folder).glob(f'*_{verb}_*/result.json'))
    if not done:
        raise FileNotFoundError(f'There is no finished run of {verb} in {folder}: run 2_training.ipynb first')
    return done[-1].parent
