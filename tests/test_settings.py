"Settings are declared once: the verbs and the command show what the dataclasses say."
import inspect, subprocess, sys
from dataclasses import fields

import pytest

PROGRAM = [sys.executable, '-c', 'from cytokit.cli import entry; entry()']
# Options that are spelled otherwise than the field, and fields that are not meant for the command line.
OPTION = dict(mean='weights-mean', std='weights-std', target='learn')
NOT_OFFERED = {'method', 'compiled', 'steps'}


def test_ipython_explains_compare():
    code = "from cytokit import compare\nget_ipython().run_line_magic('pinfo', 'compare')"
    command = [sys.executable, '-m', 'IPython', '--no-banner', '--colors=NoColor', '--simple-prompt', '-c', code]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
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


def option_names(words):
    "The long options that `--help` of a command prints."
    done = subprocess.run([*PROGRAM, *words, '--help'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    return {w.strip(',').split('/')[0] for w in done.stdout.split() if w.startswith('--')}


@pytest.mark.parametrize('verb', ['train', 'compare'])
def test_help_names_every_setting(verb):
    from cytokit.training.fit import Settings
    skipped = NOT_OFFERED | ({'patience'} if verb == 'compare' else set())
    wanted = {'--' + OPTION.get(f.name, f.name).replace('_', '-') for f in fields(Settings) if f.name not in skipped}
    assert wanted <= option_names([verb])


def test_help_of_segment_names_every_setting():
    from cytokit.segmentation.fit import SegmentSettings
    wanted = {'--' + OPTION.get(f.name, f.name).replace('_', '-') for f in fields(SegmentSettings)
              if f.name not in NOT_OFFERED | {'balance'}}
    assert wanted <= option_names(['segment', 'train'])


def test_defaults_of_the_commands_agree():
    from cytokit import cli
    from cytokit.segmentation.fit import SegmentSettings
    from cytokit.training.fit import Settings
    # The command trains longer in smaller batches: it is made for small sets.
    own = dict(epochs=15, batch_size=16)
    for command, settings, other in ((cli.train, Settings, own), (cli.compare, Settings, own),
                                     (cli.lr, Settings, own), (cli.segment_train, SegmentSettings, {})):
        options = inspect.signature(command).parameters
        for field in fields(settings):
            if field.name not in options: continue
            assert options[field.name].default == other.get(field.name, field.default), (command.__name__, field.name)
