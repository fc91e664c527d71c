"A setting is declared once: the verb in Python and the command both show what the dataclass says."
import inspect, os, subprocess, sys
from dataclasses import MISSING, fields
import pytest, typer
from fastcore.docments import docments
from cytokit.cli import app
from cytokit_process import process

# Of `train`, `compare` and `lr`: the only defaults that differ from those in Python
COMMAND_DEFAULTS = dict(epochs=15, batch_size=16)
FLAGS = dict(mean='--weights-mean', std='--weights-std')

def verb(*names):
    "The options of a verb by their names in Python, as the parser has them."
    command = typer.main.get_command(app)
    for name in names: command = command.commands[name]
    return {option.name: option for option in command.params}

def declared(name):
    "Fields of the settings of a verb, and the function."
    from cytokit import compare, find_rate, segment, train
    from cytokit.segmentation.fit import SegmentSettings
    from cytokit.training.fit import Settings
    settings = dict(train=(Settings, train), compare=(Settings, compare), lr=(Settings, find_rate),
                    segment=(SegmentSettings, segment))
    return settings[name]

# What a verb decides itself: a comparison takes several methods, and `lr` finds the rate of a plain training
LEFT_OUT = dict(compare={'method'}, lr={'lr', 'seconds', 'patience', 'compiled'})

@pytest.mark.parametrize('name', ['train', 'compare', 'lr', 'segment'])
def test_every_setting_is_an_option(name):
    settings, _ = declared(name)
    options = verb('segment', 'train') if name == 'segment' else verb(name)
    differ = {} if name == 'segment' else COMMAND_DEFAULTS
    for field in fields(settings):
        if field.name in LEFT_OUT.get(name, ()):
            assert field.name not in options
            continue
        assert field.default is not MISSING
        option = options[field.name]
        assert option.default == differ.get(field.name, field.default), field.name
        flag = {'target': '--learn'} if name == 'segment' else FLAGS
        assert flag.get(field.name, '--' + field.name.replace('_', '-')) in option.opts

@pytest.mark.parametrize('name', ['seeds', 'folds', 'as_rgb8', 'metric', 'valid'])
def test_options_of_a_comparison_are_its_parameters(name):
    assert verb('compare')[name].default == inspect.signature(declared('compare')[1]).parameters[name].default

def test_default_methods_and_fractions_of_a_comparison():
    parameters, options = inspect.signature(declared('compare')[1]).parameters, verb('compare')
    assert options['methods'].default is parameters['methods'].default is None
    assert [float(share) for share in options['fractions'].default.split(',')] == list(parameters['fractions'].default)

def test_options_of_preprocessing_are_its_fields():
    from cytokit import Preprocessing
    options, default = verb('train'), {field.name: field.default for field in fields(Preprocessing)}
    for name in ('size', 'norm', 'low', 'high', 'resize_mode', 'channels'):
        assert options[name].default == default[name]

@pytest.mark.parametrize('name', ['train', 'segment'])
def test_comments_are_read_as_fastcore_reads_them(name):
    "The text that is read without importing, and the class that is imported."
    from cytokit.parameters import read_parameters
    settings, _ = declared(name)
    live = docments(settings, returns=False)
    read = read_parameters(settings.__module__.removeprefix('cytokit.'), settings.__name__)
    assert list(read) == list(live)
    for key, text in live.items():
        assert text, f'{key} has no explanation'
        if '`' not in text: assert read[key].help == ' '.join(text.split())

def test_names_of_choices_are_those_of_the_code():
    from cytokit.parameters import read_parameters
    from cytokit.data.preprocess import NORMS
    from cytokit.segmentation.fit import LOSSES
    from cytokit.segmentation.unet import PRESETS
    from cytokit.training.fit import METHODS
    from cytokit.training.loaders import AUGMENTATIONS
    training = read_parameters('training.fit', 'Settings')
    segmentation = read_parameters('segmentation.fit', 'SegmentSettings')
    named = [(training['method'], METHODS), (training['augment'], AUGMENTATIONS),
             (segmentation['augment'], AUGMENTATIONS), (segmentation['preset'], PRESETS),
             (segmentation['loss'], LOSSES)]
    for parameter, names in named:
        assert f'one of {", ".join(names)}' in parameter.help.replace('One', 'one'), parameter
    norm = read_parameters('data.preprocess', 'Preprocessing')['norm'].help
    assert norm == f'One of {", ".join(NORMS)}'

HELP = """
import sys
from cytokit.cli import main
main(sys.argv[1:])
print([name for name in ("torch", "fastai", "pandas") if name in sys.modules])
"""

@pytest.mark.parametrize('verb', ['', 'train', 'compare', 'lr', 'segment train'])
def test_help_loads_no_torch(verb):
    done = subprocess.run([sys.executable, '-c', HELP, *verb.split(), '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith('Usage: '), done.stderr
    assert done.stdout.splitlines()[-1] == '[]'

IPYTHON = """
import sys
from IPython import start_ipython
start_ipython(["--no-banner", "--colors=NoColor", "--simple-prompt", "-c", sys.argv[1]])
"""
LINES = """
from cytokit import compare, segment, train
import warnings
warnings.simplefilter("ignore")  # of an interface that may change
for text in ("compare(ba", "train(pat", "segment(enc"):
    print(*[found.text for found in get_ipython().Completer.completions(text, len(text))])
get_ipython().run_line_magic('pinfo', 'compare')
"""

@pytest.fixture(scope='module')
def ipython(tmp_path_factory):
    "What IPython prints."
    home = tmp_path_factory.mktemp('ipython')
    done = process(IPYTHON, LINES, cwd=home, env={**os.environ, 'IPYTHONDIR': str(home)})
    assert done.returncode == 0, done.stderr
    return done.stdout

def test_tab_completes_settings_in_a_call(ipython):
    found = [line.split() for line in ipython.splitlines()[:3]]
    assert {'balance=', 'batch_size='} <= set(found[0]) and 'patience=' in found[1] and 'encoder=' in found[2], found

def test_ipython_explains_compare(ipython):
    shown = '\n'.join(ipython.splitlines()[3:])
    assert 'epochs: int = ' in shown
    assert '- epochs: Passes over the training images' in shown
    assert '- seeds: How often each network is trained' in shown

@pytest.mark.parametrize('verb', ['train', 'find_rate', 'compare', 'segment'])
def test_signature_shows_every_setting(verb):
    import cytokit
    from cytokit.segmentation.fit import SegmentSettings
    from cytokit.training.fit import Settings
    function = getattr(cytokit, verb)
    shown = inspect.signature(function).parameters
    for field in fields(SegmentSettings if verb == 'segment' else Settings):
        if field.name == 'method': continue
        assert f'- {field.name}: ' in function.__doc__
        if field.name not in inspect.getfullargspec(inspect.unwrap(function)).args:
            assert shown[field.name].default == field.default
