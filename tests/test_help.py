"The help of each verb, its examples, and what the Tab key offers."
import os, shlex, subprocess, sys
from pathlib import Path
import pytest
from typer.main import get_command
from cytokit.cli import app
from cytokit_process import cytokit

COMMAND = Path(sys.executable).with_name('cytokit')

def walk(command, *path):
    "Each command below this one, with the words that lead to it."
    yield path, command
    for name, below in getattr(command, 'commands', {}).items(): yield from walk(below, *path, name)

VERBS = dict(walk(get_command(app)))

def examples(command):
    "The commands that the help of a verb ends with."
    title, *lines = (command.epilog or '').strip('\b\n').splitlines() or ['']
    assert title == ('Example:' if len(lines) == 1 else 'Examples:'), command.name
    return [line.strip() for line in lines]

@pytest.mark.parametrize('path', VERBS, ids=' '.join)
def test_each_verb_has_an_example_of_itself(path):
    lines = examples(VERBS[path])
    assert lines and all(line.startswith(' '.join(['cytokit', *path])) for line in lines)

def test_no_line_of_a_list_of_verbs_is_cut(monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    for path in [(), ('segment',), ('new',)]:
        assert '...' not in cytokit(*path, '--help').stdout.partition('Commands:')[2], path

def parse(line):
    "Parse a command without running it: an option that is not there, or an argument too few, is an error."
    program, *words = shlex.split(line, comments=True)
    assert program == 'cytokit'
    command = VERBS[()]
    while words and words[0] in getattr(command, 'commands', {}): command = command.commands[words.pop(0)]
    return command.make_context(command.name, words)

LINES = [line for command in VERBS.values() for line in examples(command)]

@pytest.mark.parametrize('line', dict.fromkeys(LINES))
def test_each_example_can_be_parsed(line):
    assert parse(line).command.name == line.split()[2 if line.split()[1] in ('segment', 'new') else 1]

def test_a_wrong_example_is_no_example():
    for line in ('cytokit check scans --htm check.html', 'cytokit predict model', 'cytokit machine now'):
        with pytest.raises(Exception, match='(?i)no such option|missing|unexpected'): parse(line)

# In this order, in an empty folder; the others train, or need a network
CHEAP = ['cytokit sample mri scans --n 120', 'cytokit sample cells cells --n 40 --set masks=true --set overlap=0.3',
         'cytokit check scans --html check.html --plan plan.csv', 'cytokit fetch', 'cytokit machine', 'cytokit cache',
         'cytokit cache --clear', 'cytokit lessons course', 'cytokit lessons solutions --edition instructor',
         'cytokit new lesson thresholds', "cytokit new project nuclei --question 'How many nuclei divide?'",
         'cytokit plan card.yml --html card.html']

def test_what_is_cheap_runs(tmp_path):
    assert set(CHEAP) <= set(LINES)
    for line in CHEAP:
        done = cytokit(*shlex.split(line)[1:], cwd=tmp_path)
        assert done.returncode == 0, f'{line}\n{done.stderr}'
    for name in ('check.html', 'plan.csv', 'solutions/00_plan.ipynb', 'thresholds.ipynb', 'nuclei/README.md'):
        assert (tmp_path/name).exists(), name

def test_the_help_shows_it_as_it_is():
    done = cytokit('check', '--help')
    assert '\n    cytokit check scans --html check.html --plan plan.csv\n' in done.stdout + '\n'

def completed(*words):
    "What the Tab key offers in bash after these words, and which modules were loaded for it."
    env = {**os.environ, '_CYTOKIT_COMPLETE': 'complete_bash', 'COMP_WORDS': ' '.join(words),
           'COMP_CWORD': str(len(words) - 1), 'PYTHONPROFILEIMPORTTIME': '1'}
    done = subprocess.run([COMMAND], env=env, capture_output=True, text=True)
    loaded = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines() if line.startswith('import time:')}
    return done.stdout.split(), loaded

def test_the_tab_key_completes_verbs_and_options():
    offered, loaded = completed('cytokit', 're')
    assert {'resume', 'rerun', 'regress', 'report', 'review'} == set(offered)
    assert 'typer' in loaded and not {'torch', 'pandas', 'skimage', 'matplotlib', 'scipy'} & loaded
    assert set(completed('cytokit', 'segment', '')[0]) >= {'train', 'predict', 'evaluate', 'view'}
    assert '--fail-on' in completed('cytokit', 'check', '--fa')[0]

def test_completion_is_shown_for_a_shell():
    env = {**os.environ, '_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION': '1'}
    done = subprocess.run([COMMAND, '--show-completion', 'bash'], env=env, capture_output=True, text=True)
    assert done.returncode == 0 and '_CYTOKIT_COMPLETE=complete_bash' in done.stdout, done.stderr

def test_bash_takes_what_is_shown(tmp_path):
    "In a shell of its own: the text is read, and the function in it is asked."
    env = {**os.environ, 'PATH': f'{COMMAND.parent}:{os.environ["PATH"]}', 'HOME': str(tmp_path),
           '_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION': '1'}
    script = """eval "$(cytokit --show-completion bash)"
COMP_WORDS=(cytokit dis); COMP_CWORD=1; _cytokit_completion cytokit
echo "${COMPREPLY[@]}" """
    done = subprocess.run(['bash', '--norc', '-c', script], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ['distill'], done.stdout + done.stderr
