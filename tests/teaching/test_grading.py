"A class as teachers get it: honest work, mangled notebooks, accidents and pranks."
import json, os, time
from pathlib import Path
import pytest
from cytokit.core import InputError
from cytokit.teaching.editions import code_cells, make_edition, write_notebook
from cytokit.teaching.grading import grade

SET_UP = '''import numpy as np
from cytokit.teaching import check_answer, hint, solution'''
SIZES = 'sizes, points = [10, 40, 160], [.6, .7, .86]'
RATES = 'rates, losses = np.array([.1, .2, .4]), np.array([.5, .3, .6])'
MORE = "check_answer('more-data', answer, sizes=sizes, scores=points)"
BEST = "check_answer('lr-best', answer, rates=rates, losses=losses)"
HELP = "hint('more-data')\nsolution('more-data')"
LESSON = [SET_UP, SIZES, f'answer = ...\n{MORE}', HELP, RATES, f'answer = ...\n{BEST}']
RIGHT_MORE = 'answer = (points[-1] - points[-2])/np.log2(sizes[-1]/sizes[-2])'
RIGHT_BEST = 'answer = rates[losses.argmin()]'

def cell(source, **more):
    return dict(cell_type='code', source=source, metadata={}, outputs=[], execution_count=None, **more)

def notebook(*sources, **metadata):
    cells = [cell(source, id=f'c{i}') for i, source in enumerate(sources)]
    return dict(nbformat=4, nbformat_minor=5, metadata=metadata, cells=cells)

@pytest.fixture
def lesson(tmp_path):
    path = tmp_path/'98_tiny.ipynb'
    write_notebook(path, notebook(*LESSON))
    return path

@pytest.fixture
def results(lesson, tmp_path):
    "Grade notebooks, given as lists of sources; student and question to the row of the table."
    def graded(timeout=2, **papers):
        for name, sources in papers.items(): write_notebook(tmp_path/'class'/f'{name}.ipynb', notebook(*sources))
        grades = grade(tmp_path/'class', [lesson], timeout=timeout)
        return {(row.student, row.question): row for row in grades.table.itertuples()}, grades.problems
    return graded

def answered(more='answer = ...', best='answer = ...', **at):
    "The lesson with answers; `at` puts a source before a cell, such as c2='x = 1'."
    sources = [SET_UP, SIZES, f'{more}\n{MORE}', LESSON[3], RATES, f'{best}\n{BEST}']
    return [part for i, source in enumerate(sources) for part in ([at[f'c{i}']] if f'c{i}' in at else []) + [source]]

def test_an_answer_is_found_however_the_notebook_was_mangled(results):
    whole = answered(RIGHT_MORE, RIGHT_BEST)
    found, problems = results(
        whole=whole,
        reversed_=[SET_UP, SIZES, RATES, *reversed(whole[2:4] + whole[5:])],
        copied=[*whole, f'answer = 1\n{BEST}', LESSON[2]],
        split=[SET_UP, SIZES, RIGHT_MORE, MORE, RATES, RIGHT_BEST, 'print("looks right")', BEST],
        cut=whole[2:3] + whole[5:],
        helper=answered('answer = gain()', 'answer = pick(rates)', c1='def pick(x): return x[losses.argmin()]',
                        c2='def gain(): return (points[-1] - points[-2])/np.log2(sizes[-1]/sizes[-2])'),
        below=[*answered('answer = gain()', 'answer = last[1]'), f'def gain():\n    {RIGHT_MORE}\n    return answer',
               'last = rates'],
        magics=answered(f'%time 3\n{RIGHT_MORE}', f'!ls\n{RIGHT_BEST}'))
    assert {key: row.note for key, row in found.items() if row.result != 'right'} == {}
    assert problems == [] and len(found) == 16

def test_untouched_unanswered_and_wrong(results):
    found, problems = results(untouched=LESSON, emptied=[SET_UP, MORE], wrong=answered('answer = .16', 'answer = .4'),
                              text=answered('answer = "many"', 'answer = [1, 2]'),
                              stopped=answered('answer = 1/0', 'answer = nobody'))
    assert {key[0] for key, row in found.items() if row.result == 'open'} == {'untouched', 'emptied'}
    assert 'how many doublings' in found['wrong', 'more-data'].note
    assert 'should be a number' in found['text', 'more-data'].note
    assert 'ZeroDivisionError' in found['stopped', 'more-data'].note
    assert 'NameError' in found['stopped', 'lr-best'].note
    assert problems == []

def test_what_a_person_must_look_at(results, tmp_path):
    read_off = notebook(*answered('answer = .0871', RIGHT_BEST))
    kept = dict(question='more-data', right=True, tries=4)
    read_off['cells'][2]['outputs'] = [dict(output_type='display_data', data={'text/plain': '✓ Right.'},
                                            metadata=dict(cytokit=kept))]
    write_notebook(tmp_path/'class/read_off.ipynb', read_off)
    found, _ = results(own_data=answered(best=f'rates, losses = [3.], [0.]\nanswer = 3.\n{BEST}'),
                       passed=[SET_UP, SIZES, RATES, "check_answer('lr-best', 7, rates=[7], losses=[0])"],
                       guessed=answered('answer = .08'))
    row = found['read_off', 'more-data']
    assert (row.result, row.tries) == ('look', 4) and 'the saved notebook says right' in row.note
    assert found['own_data', 'lr-best'].result == found['passed', 'lr-best'].result == 'look'
    assert (found['guessed', 'more-data'].result, found['guessed', 'more-data'].new_numbers) == ('right', False)
    assert found['read_off', 'lr-best'].new_numbers is True

def leftovers(mark):
    "Processes that have inherited `mark` in their environment; other tests may be grading at the same time."
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try: environment = (folder/'environ').read_bytes()
        except OSError: continue
        if mark.encode() in environment and folder.name != str(os.getpid()): found.append(folder.name)
    return found

BREAK_OUT = '''import ctypes, os, time
c = ctypes.CDLL(None)
for _ in range(3):
    if c.fork() == 0:
        os.setsid()
        while True: time.sleep(.1)
time.sleep(30)'''

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are not copied here')
def test_accidents_and_pranks_harm_nobody(results, tmp_path, monkeypatch):
    mark = f'of-{tmp_path.name}-{os.getpid()}'
    monkeypatch.setenv('CYTOKIT_TEST_MARK', mark)
    victim = tmp_path/'victim.txt'
    victim.write_text('kept')
    pranks = dict(
        loop=('while True: pass', 'longer than 3 s'),
        memory=('x = []\nwhile True: x.append(bytes(10**9))', 'memory'),
        write=(f'open({str(victim)!r}, "w")', 'may not write'),
        delete=(f'import os\nos.remove({str(victim)!r})', 'may not write'),
        home=('import shutil\nfrom pathlib import Path\nshutil.rmtree(Path.home())\nopen("/etc/x", "w")',
              'may not write'),
        fork=('import os\nwhile True: os.fork()', 'os.fork'),
        break_out=(BREAK_OUT, ''),
        program=('import subprocess\nsubprocess.run("ls")', 'subprocess'),
        network=('import urllib.request\nurllib.request.urlopen("http://127.0.0.1:9")', 'stopped'),
        exit_=('import os\nos._exit(0)', 'ended the process'),
        quit_=('raise SystemExit', 'SystemExit'),
        talk=('while True: print("x"*10**6)', 'longer than 3 s'),
        disk=('open("big", "wb").write(bytes(10**8))', 'stopped'),
        signal_=('import signal, os\nsignal.raise_signal(9)', 'signal 9'),
        deep=('def f(): return f()\nf()', 'RecursionError'))
    found, _ = results(timeout=3, honest=answered(RIGHT_MORE, RIGHT_BEST),
                       **{name: answered(prank, RIGHT_BEST) for name, (prank, _) in pranks.items()})
    for name, (_, said) in pranks.items():
        assert found[name, 'more-data'].result == 'wrong', name
        assert said in found[name, 'more-data'].note, (name, found[name, 'more-data'].note)
        assert found[name, 'lr-best'].result == 'right', name  # one bad answer costs that answer
    assert found['honest', 'more-data'].result == 'right'
    assert victim.read_text() == 'kept' and leftovers(mark) == []

def test_files_that_are_no_copy_of_the_lesson(results, tmp_path):
    folder = tmp_path/'class'
    folder.mkdir()
    files = dict(cut='{"cells": [', empty='', array='[1]', old='{"worksheets": [], "nbformat": 3}',
                 broken='{"cells": [3], "nbformat": 4}',
                 metadata='{"cells": [], "nbformat": 4, "metadata": {"kernelspec": 3}}',
                 deep='['*100_000)
    for name, text in files.items(): (folder/f'{name}.ipynb').write_text(text)
    with open(folder/'huge.ipynb', 'wb') as f: f.truncate(300*2**20)
    (folder/'bytes.ipynb').write_bytes(bytes(range(256)))
    (folder/'link.ipynb').symlink_to('/etc/hostname')
    (folder/'.ipynb_checkpoints').mkdir()
    (folder/'.ipynb_checkpoints/anna-checkpoint.ipynb').write_text('{}')
    r, other = dict(name='ir', language='R'), dict(name='conda-env-x', language='python')
    write_notebook(folder/'other_language.ipynb', notebook(*LESSON, kernelspec=r))
    write_notebook(folder/'other_kernel.ipynb', notebook(*answered(RIGHT_MORE), kernelspec=other))
    found, problems = results(nothing=['x = 1'], unknown=[*answered(RIGHT_MORE), "check_answer('more-dat', 3)"])
    assert found['other_kernel', 'more-data'].result == found['unknown', 'more-data'].result == 'right'
    said = {Path(line.split(': ')[0]).stem: line for line in problems}
    assert set(said) == {*files, 'huge', 'bytes', 'link', 'other_language', 'nothing', 'unknown'}
    assert all('\n' not in line for line in problems)
    for name, text in dict(huge='300 MiB', link='not followed', other_language='language R', unknown="'more-dat'",
                           nothing='no question', cut='JSON').items():
        assert text in said[name], said[name]

def test_two_students_with_one_name(results, tmp_path):
    paths = ('anna', 'anna/98_tiny', 'ben/98_tiny', 'ben/98_tiny-Copy1', '98_tiny_carla')
    for path in paths: write_notebook(tmp_path/f'class/{path}.ipynb', notebook(*answered(RIGHT_MORE)))
    found, problems = results()
    assert {student for student, _ in found} == {'anna', 'anna/98_tiny', 'ben/98_tiny', 'ben/98_tiny-Copy1', 'carla'}
    assert len(problems) == 4 and all('several notebooks' in line for line in problems)

def test_a_class_of_thirty(results):
    begun = time.perf_counter()
    found, _ = results(**{f's{i:02}': answered(RIGHT_MORE, 'answer = .4') for i in range(30)})
    assert sum(row.result == 'right' for row in found.values()) == 30
    assert time.perf_counter() - begun < 60

def test_without_copies_of_the_process(results, monkeypatch):
    "As on Windows: one worker a student."
    monkeypatch.delattr(os, 'fork')
    found, problems = results(anna=answered(RIGHT_MORE), ben=answered(best='answer = .4'))
    assert found['anna', 'more-data'].result == 'right'
    assert [found['ben', name].result for name in ('more-data', 'lr-best')] == ['open', 'wrong']
    assert problems == []

def test_a_lesson_that_stops_is_reported(lesson, tmp_path, results):
    write_notebook(lesson, notebook(SET_UP, 'import no_such_module', *LESSON[1:]))
    found, problems = results(anna=answered(RIGHT_MORE))
    assert found['anna', 'more-data'].result == 'right'
    assert len(problems) == 1 and 'code cell 2 stopped with ModuleNotFoundError' in problems[0]

def test_editions_of_the_lesson_as_a_class(lesson, tmp_path, results):
    for edition in ('student', 'instructor'):
        write_notebook(tmp_path/f'class/{edition}.ipynb', make_edition(lesson, edition))
    signed = make_edition(lesson, 'instructor')
    for signed_cell in code_cells(signed): signed_cell['id'] += 'x'  # another program gave its own ids
    write_notebook(tmp_path/'class/renamed.ipynb', signed)
    found, problems = results()
    marks = {student: {row.result for (name, _), row in found.items() if name == student} for student, _ in found}
    assert marks == dict(student={'open'}, instructor={'right'}, renamed={'right'}) and problems == []

def test_wrong_use(tmp_path, lesson):
    (tmp_path/'empty').mkdir()
    for folder, told in (('empty', 'no notebook'), ('nobody', 'no such folder')):
        with pytest.raises(InputError, match=told): grade(tmp_path/folder, [lesson])
    with pytest.raises(InputError, match='memory'): grade(tmp_path/'empty', [lesson], memory=1)
    assert json.loads(lesson.read_text())['cells']
