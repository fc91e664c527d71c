"The editions of the course: what a student gets, keeps and finds again; and what the autograder holds."
import dis, json, os, re, subprocess, sys
from pathlib import Path
import pytest
from cytokit.teaching.editions import (
    asked, code_cells, copy_lessons, instructor_edition, lesson_files, make_edition, own_cells, parsed, questions_of,
    read_notebook, student_edition, write_notebook)
from cytokit.teaching.exercises import QUESTIONS

ROOT = Path(__file__).parents[2]
LESSONS = lesson_files()
CHECK = "check_answer('lr-best', answer, rates=rates, losses=losses)"
SET_UP = '''import numpy as np
from cytokit.teaching import check_answer, hint, solution
rates, losses = np.array([.1, .2, .4]), np.array([.5, .3, .6])'''

def notebook(*sources, **metadata):
    cells = [dict(cell_type='code', id=f'c{i}', source=source, metadata={}, outputs=[], execution_count=None)
             for i, source in enumerate(sources)]
    return dict(nbformat=4, nbformat_minor=5, metadata=metadata, cells=cells)

def sources(nb): return [cell['source'] for cell in nb['cells']]

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_student_edition_has_checks_and_hints_and_no_solution(path):
    lesson = read_notebook(path)
    student = student_edition(lesson)
    text = '\n'.join(sources(student))
    for name in questions_of(lesson):
        assert f"check_answer('{name}'" in text and f"hint('{name}')" in text
        assert QUESTIONS[name].solution not in text
        answers = [line for line in QUESTIONS[name].solution.splitlines() if line.startswith('answer =')]
        assert not set(answers) & set(text.splitlines()), name
    assert not any(cell['outputs'] or cell['execution_count'] for cell in code_cells(student))
    assert questions_of(student) == questions_of(lesson) and '](../' not in text

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_instructor_edition_has_solutions_and_notes(path):
    lesson = read_notebook(path)
    text = '\n'.join(sources(instructor_edition(lesson)))
    for name in questions_of(lesson):
        assert QUESTIONS[name].solution in text
        assert f"check_on_new_numbers('{name}')" in text and f'Notes for the instructor: {name}**' in text
    assert 'answer = ...' not in text

def names(code, *operations):
    "Names that the operations of a code object have."
    return {step.argval for step in dis.get_instructions(code) if step.opname in operations}

def read_by(source):
    "Variables of the lesson that code needs, in its functions too."
    first = compile(source, '<solution>', 'exec')
    codes, read = [first], set()
    while codes:
        code = codes.pop()
        read |= names(code, 'LOAD_NAME', 'LOAD_GLOBAL')
        codes += [constant for constant in code.co_consts if hasattr(constant, 'co_code')]
    return read - names(first, 'STORE_NAME')

def written_by(source):
    "Variables of the lesson that a cell gives another value."
    return names(compile(parsed(source), '<cell>', 'exec'), 'STORE_NAME', 'DELETE_NAME') - {'answer'}

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_nothing_below_an_exercise_changes_what_it_is_about(path):
    "Who has run all cells answers the first exercise afterwards; so does who goes back to it."
    cells = [cell['source'] for cell in code_cells(make_edition(path))]
    place = {name: i for i, source in enumerate(cells) for name in asked(source)}
    for name, i in place.items():
        about = read_by(QUESTIONS[name].solution)
        for source in cells[i + 1:]: assert not written_by(source) & about, (name, source)
        for other in place:
            if other != name: assert not written_by(QUESTIONS[other].solution) & about, (name, other)

RUN_ALL = '''
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from cytokit.teaching.exercises import CHECKED, QUESTIONS
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
for cell in json.load(sys.stdin): shell.run_cell(cell, silent=True).raise_error()
unanswered = [checked.right for checked in CHECKED.values()]
for name in list(CHECKED): shell.run_cell(QUESTIONS[name].solution, silent=True).raise_error()
print(json.dumps([unanswered, [checked.right for checked in CHECKED.values()]]))
'''

@pytest.mark.parametrize('path', LESSONS[:2], ids=lambda p: p.stem)
def test_run_all_without_answers_and_answer_afterwards(path, tmp_path):
    cells = [cell['source'] for cell in code_cells(make_edition(path))]
    env = {**os.environ, 'IN_TEST': '1', 'MPLBACKEND': 'agg', 'CYTOKIT_CACHE': str(tmp_path)}
    done = subprocess.run([sys.executable, '-c', RUN_ALL], input=json.dumps(cells), text=True, capture_output=True,
                          env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    unanswered, answered = json.loads(done.stdout.splitlines()[-1])
    assert unanswered == [None]*len(answered) and answered == [True]*len(answered) != []

@pytest.fixture
def course(tmp_path):
    "A lesson, and a student's copy of it."
    lesson = tmp_path/'98_tiny.ipynb'
    help_ = "hint('lr-best')\nsolution('lr-best')"
    write_notebook(lesson, notebook(SET_UP, 'print("look")', f'answer = ...\n{CHECK}', help_))
    copy_lessons(tmp_path/'mine', files=[lesson])
    return lesson, tmp_path/'mine/98_tiny.ipynb'

def renew(lesson):
    "A new version of the lesson, with a sentence more."
    nb = read_notebook(lesson)
    number = len(nb['cells'])
    nb['cells'].insert(1, dict(cell_type='markdown', id=f'new-{number}', metadata={}, source='A new sentence.'))
    write_notebook(lesson, nb)

def change(nb, kind):
    "What students do to a notebook."
    cells = nb['cells']
    answered = {**cells[2], 'source': f'answer = .2\n{CHECK}'}
    own = {**cells[1], 'id': 'own', 'source': 'mine = 3'}
    if kind == 'answered': cells[2] = answered
    if kind == 'own cell': cells.insert(2, own)
    if kind == 'copied': cells[2:3] = [answered, {**answered, 'id': 'copy', 'source': f'answer = .4\n{CHECK}'}]
    if kind == 'moved': cells.append(cells.pop(2) | {'source': answered['source']})
    if kind == 'split': cells[2:3] = [{**cells[2], 'source': 'answer = .2'}, {**own, 'source': CHECK}]
    if kind == 'deleted': del cells[1:3]
    if kind == 'emptied': cells.clear()
    if kind == 'lesson changed': cells[1] = {**cells[1], 'source': 'print("mine")'}
    if kind == 'other question': cells.append({**own, 'source': "answer = 1\ncheck_answer('gone', answer)"})
    if kind == 'no ids':
        cells[2] = answered
        for cell in cells: del cell['id']
    if kind == 'no signature': nb['metadata'], cells[2] = {}, answered

KINDS = ['untouched', 'answered', 'own cell', 'copied', 'moved', 'split', 'deleted', 'emptied', 'lesson changed',
         'other question', 'no ids', 'no signature']

@pytest.mark.parametrize('kind', KINDS)
def test_an_update_loses_nothing(course, kind):
    lesson, copy = course
    nb = read_notebook(copy)
    change(nb, kind)
    write_notebook(copy, nb)
    own = sources(dict(cells=own_cells(nb, make_edition(lesson))))
    before = copy.read_bytes()
    assert 'stays as it is' in copy_lessons(copy.parent, files=[lesson])[copy.name]
    assert copy.read_bytes() == before
    renew(lesson)
    said = copy_lessons(copy.parent, update=True, files=[lesson])[copy.name]
    updated, kept = read_notebook(copy), copy.with_name('98_tiny (before update).ipynb')
    assert 'A new sentence.' in sources(updated)
    everything = sources(updated) + (sources(read_notebook(kept)) if kept.exists() else [])
    assert set(own) <= set(everything), said
    assert kept.exists() == (kind in ('lesson changed', 'other question'))
    if kept.exists(): assert kept.read_bytes() == before and kept.name in said
    assert questions_of(updated) == ['lr-best']
    if kind in ('answered', 'moved', 'no ids', 'no signature'):
        assert [source for source in sources(updated) if asked(source)] == [f'answer = .2\n{CHECK}']
    again = copy.read_bytes()
    assert copy_lessons(copy.parent, update=True, files=[lesson])[copy.name] == 'is up to date'
    assert copy.read_bytes() == again

def test_what_cannot_be_read_stays(course):
    lesson, copy = course
    for text in ('', '{', 'my notes'):
        copy.write_text(text)
        assert 'cannot be read' in copy_lessons(copy.parent, update=True, files=[lesson])[copy.name]
        assert copy.read_text() == text

def test_a_second_update_keeps_the_first_old_file(course):
    lesson, copy = course
    for _ in range(2):
        nb = read_notebook(copy)
        nb['cells'][0]['source'] += '\n# mine'
        write_notebook(copy, nb)
        renew(lesson)
        copy_lessons(copy.parent, update=True, files=[lesson])
    names = sorted(path.name for path in copy.parent.iterdir())
    assert names == ['98_tiny (before update 2).ipynb', '98_tiny (before update).ipynb', '98_tiny.ipynb']

def test_the_editions_do_not_mix(course):
    lesson, copy = course
    said = copy_lessons(copy.parent, 'instructor', update=True, files=[lesson])[copy.name]
    assert 'choose another folder' in said and 'answer = ...' in copy.read_text()

def test_links_of_the_editions_lead_to_pages_of_the_site():
    pages = {path.relative_to(ROOT/'nbs').as_posix() for path in (ROOT/'nbs').rglob('*.ipynb')}
    pages = {re.sub(r'(^|/)\d\d_', r'\1', page).replace('.ipynb', '.html') for page in pages}
    for path in LESSONS:
        text = '\n'.join(sources(make_edition(path)))
        found = re.findall(r'\]\(https://cytokit\.github\.io/cytokit/([^)#]+)', text)
        assert set(found) <= pages, path.name

PLATEAU = "check_answer('lr-plateau', answer, rates=rates, losses=losses)"
GAIN = "check_answer('more-data', answer, sizes=sizes, scores=points)"

def test_otter_grades_what_a_notebook_left(tmp_path):
    "The whole course is done so by `cytokit course`; here one small lesson."
    pytest.importorskip('otter')
    from cytokit.teaching.autograder import build_course, run_autograder
    lesson, handed_in = tmp_path/'98_tiny.ipynb', tmp_path/'handed in.ipynb'
    kernel = dict(kernelspec=dict(name='python3', display_name='python3', language='python'))
    questions = [f'answer = ...\n{check}' for check in (CHECK, PLATEAU, GAIN)]
    write_notebook(lesson, notebook(SET_UP, 'sizes, points = [1, 2], [.5, .6]', *questions, **kernel))
    assert build_course(tmp_path/'course', [lesson], say=[].append) == []
    mangled = ['1/0', f'answer = 1.\n{PLATEAU}', 'answer = rates[losses.argmin()]', CHECK, CHECK]
    write_notebook(handed_in, notebook(SET_UP, *mangled, **kernel))
    got = run_autograder(tmp_path/'course/autograder/98_tiny.zip', handed_in)
    assert got['passed'] == {'lr-best': [True, True], 'lr-plateau': [True, False], 'more-data': [False, False]}
    assert (got['score'], got['possible']) == (2, 3)
