"The diary, the project card and `diff`, as a person uses them: the command as a process, in a folder of its own."
import json, shutil, subprocess, sys
from pathlib import Path
import cytokit_process, pytest
from cytokit.cli import captured
from cytokit.core import InputError, read_json
from cytokit.data.synthetic import write_sample
from cytokit.sharing.diary import DIARY, Diary, append_line, read_lines
from cytokit.sharing.project_card import read_card

SMALL = ('--size', 16, '--epochs', 1, '--lr', .01)
CARD = 'title: Leaves\nmetric: {metric}\ngood_enough: {threshold}\nbaseline: {{name: a glance, value: 0.5}}\n'

@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "Images and three runs, the second the same as the first, the third with another seed."
    home = tmp_path_factory.mktemp('diary')
    write_sample('textures', home/'textures', n=32)
    (home/'card.yml').write_text(CARD.format(metric='balanced_accuracy', threshold=.99))
    first = cytokit_process.cytokit('train', 'textures', *SMALL, '--out', 'runs/first', '--why', 'a | first look',
                                    '--card', 'card.yml', cwd=home)
    assert first.returncode == 0, first.stderr
    (home/'first.txt').write_text(first.stdout)
    return home

def run(home, *args):
    "Exit code, output and complaint of the command, started in that folder."
    done = cytokit_process.cytokit(*args, cwd=home)
    return done.returncode, done.stdout, done.stderr

def test_a_training_leaves_a_line(home):
    entries, bad = read_lines(home/'runs'/DIARY)
    line = next(entry for entry in entries if entry['run'] == 'first')
    assert not bad and line['why'] == 'a | first look' and line['metric'] == 'balanced_accuracy'
    result = read_json(home/'runs/first/result.json')
    assert line['mean'] == result['balanced_accuracy']['mean']
    assert line['asked'] == 'epochs=1, lr=0.01, batch_size=16, size=16'
    assert not list((home/'runs').glob('*.tmp*'))

def test_the_goal_is_judged_and_the_card_is_kept(home):
    said = (home/'first.txt').read_text()
    assert 'Goal ' in said and 'at least 0.99 is good enough' in said
    assert read_json(home/'runs/first/result.json')['goal']['met'] is not True
    assert read_card(home/'runs/first/card.yml') == read_card(home/'card.yml')

def test_tried_before_note_and_table(home):
    code, out, err = run(home, 'train', 'textures', *SMALL, '--out', 'runs/again')
    assert code == 0 and 'cytokit: tried before: first on ' in err and 'the same data and settings, gave' in err
    code, out, err = run(home, 'note', 'the same to the last digit')
    assert (code, out) == (0, 'noted for again\n')
    assert run(home, 'note', 'look at the blurred ones', '--run', 'runs/first')[0] == 0
    code, out, err = run(home, 'diary', '--find', 'digit', '--markdown', 'diary.md', '--json', 'diary.json')
    assert code == 0 and 'learnt: the same to the last digit' in out and 'first  train' not in out
    assert [row['run'] for row in json.loads((home/'diary.json').read_text())] == ['again']
    assert 'a \\| first look' in (home/'diary.md').read_text()
    code, out, err = run(home, 'diff', 'runs/first', 'runs/again', '--json', 'diff.json')
    assert code == 0 and 'Nothing that was asked differs' in out, out
    assert read_json(home/'diff.json')['changes'] == []

def test_a_repeat_is_no_news(home):
    "`rerun` asks for the same on purpose; it is not warned, and its line says what it repeats."
    code, out, err = run(home, 'rerun', 'runs/first', '--out', 'runs/repeat')
    assert code == 0 and 'tried before' not in err and 'Every figure is the same' in out
    line = read_lines(home/'runs'/DIARY)[0][-1]
    assert line['run'] == 'repeat' and Path(line['repeats']).name == 'first' and line['why'] == ''

def test_compare_names_the_goal(home):
    asked = ('--methods', 'majority,logistic', '--size', 16, '--card', 'card.yml')
    code, out, err = run(home, 'compare', 'textures', *asked, '--out', 'runs/compare')
    assert code == 0 and 'at least 0.99 is good enough' in out, err
    line = read_lines(home/'runs'/DIARY)[0][-1]
    assert line['verb'] == 'compare' and line['said'] and line['asked'].startswith('majority, logistic')

def test_a_line_that_is_missing_is_collected(home, tmp_path):
    shutil.copytree(home/'runs/first', tmp_path/'runs/first')
    shutil.copytree(home/'textures', tmp_path/'textures')
    (tmp_path/'runs/no_run').mkdir()
    code, out, err = run(tmp_path, 'diary', '--collect')
    assert code == 0 and out.startswith('1 line added'), err
    assert run(tmp_path, 'diary', '--collect')[1].startswith('0 lines added')

WRITER = '''
import sys
from cytokit.sharing.diary import append_line
for i in range(1000): append_line(sys.argv[1], dict(kind='run', run=f'{sys.argv[2]}{i}', text='x'*(i % 300)))
'''

def test_two_processes_a_thousand_lines_each(tmp_path):
    file = tmp_path/DIARY
    writers = [subprocess.Popen([sys.executable, '-c', WRITER, str(file), name]) for name in 'ab']
    assert [writer.wait() for writer in writers] == [0, 0]
    entries, bad = read_lines(file)
    assert not bad and len(entries) == 2000
    for name in 'ab':
        assert [e['run'] for e in entries if e['run'][0] == name] == [f'{name}{i}' for i in range(1000)]

FULL = '''
import resource, signal, sys
from cytokit.sharing.diary import append_line
append_line(sys.argv[1], dict(i=0))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try: append_line(sys.argv[1], dict(i='x'*200))
except OSError as e: print(e.strerror)
'''

@pytest.mark.skipif(sys.platform == 'win32', reason='a limit of the size of files is POSIX')
def test_full_disk_leaves_whole_lines(tmp_path):
    file = tmp_path/DIARY
    done = subprocess.run([sys.executable, '-c', FULL, str(file)], capture_output=True, text=True)
    assert done.stdout.strip() in ('No space left on device', 'File too large'), done.stderr
    assert read_lines(file) == ([dict(i=0)], [])

def test_a_diary_that_cannot_be_written_costs_no_run(home, tmp_path):
    (tmp_path/'runs').mkdir()
    (tmp_path/'runs'/DIARY).mkdir()  # a folder stands where the file should be
    code, out, err = captured('train', home/'textures', *SMALL, '--out', tmp_path/'runs/one')
    assert code == 0 and err.count('\n') == 1 and 'the run is finished, but' in err
    assert (tmp_path/'runs/one/result.json').exists()

def test_edited_by_hand(home, tmp_path):
    "Whatever a line lacks or holds instead, the others are shown."
    lines = (home/'runs'/DIARY).read_text().splitlines()[:1]
    broken = ['', 'not JSON', '[1, 2]', '{"kind": "run"}',
              '{"kind": "run", "run": "x", "mean": "high", "when": 7, "why": ["a"]}',
              '{"kind": "run", "run": "<b>y</b>", "low": 1, "mean": 0.5}', '[' * 100_000, '{"half']
    (tmp_path/DIARY).write_text('\n'.join([*lines, *broken]))
    diary = Diary(tmp_path)
    assert list(diary.table['run']) == ['<b>y</b>', 'x', 'first'] and len(diary.bad) == 4
    assert '<b>' not in diary._repr_html_() and '<b>' not in diary.markdown()
    code, out, err = captured('diary', tmp_path)
    assert code == 0 and err.count('it was left out') == 4
    append_line(tmp_path/DIARY, dict(kind='note', run='x', text='after the half line'))
    assert list(Diary(tmp_path).table['learnt'])[1] == 'after the half line'

def refused(*args, says):
    "The command refuses in one line."
    code, _, err = captured(*args)
    assert code == 2 and err.count('\n') == 1 and says in err, err

def test_bad_input(home, tmp_path):
    card = tmp_path/'card.yml'
    new = ('--out', tmp_path/'new')
    card.write_text(CARD.format(metric='mae', threshold=3))
    lacks = 'metric of the card is mae, which this run does not have'
    refused('train', home/'textures', *SMALL, *new, '--card', card, says=lacks)
    card.write_text(CARD.format(metric='auc', threshold='high'))
    refused('compare', home/'textures', *new, '--card', card, says='good_enough must be a number')
    card.write_text('metric: auc\n')
    refused('compare', home/'textures', *new, '--card', card, says='has no good_enough')
    refused('plan', home/'textures', says='is a folder')
    assert not (tmp_path/'new').exists()
    refused('diary', tmp_path, says='no diary.jsonl in it')
    refused('diary', home/'runs', '--by', 'colour', says='--by must be one of')
    refused('note', ' ', '--runs', home/'runs', says='a sentence or two')
    refused('note', 'x', '--run', home, says='not a run folder')
    refused('diff', home/'runs/first', home, says='not a run folder')
    unfinished = tmp_path/'unfinished'
    shutil.copytree(home/'runs/first', unfinished)
    (unfinished/'result.json').unlink()
    refused('diff', home/'runs/first', unfinished, says='not finished')

def test_plan_begins_a_card_and_keeps_it(tmp_path):
    code, out, err = run(tmp_path, 'plan')
    assert code == 0 and 'card.yml: written' in out
    text = (tmp_path/'card.yml').read_text().replace('good_enough: null', 'good_enough: 0.9')
    (tmp_path/'card.yml').write_text(text)
    code, out, err = run(tmp_path, 'plan', '--html', 'card.html')
    assert code == 0 and 'balanced accuracy 0.9' in out and (tmp_path/'card.yml').read_text() == text
    with pytest.raises(InputError): read_card(tmp_path/'card.html')
