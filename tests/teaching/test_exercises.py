"The questions of the lessons, read beside the lessons."
from pathlib import Path
import nbformat, numpy as np, pytest
from cytokit.metrics.segmentation import dice
from cytokit.teaching import exercises

LESSONS = sorted(Path(__file__).parents[2].joinpath('nbs').glob('[lh]*/*.ipynb'))
IN_THE_COURSE = {p.name for p in LESSONS if p.parent.name == 'lessons'}
CODE = {p.name: [c.source for c in nbformat.read(p, 4).cells if c.cell_type == 'code'] for p in LESSONS}

@pytest.mark.parametrize('name', exercises.QUESTIONS)
def test_advice_can_be_copied_into_the_lesson(name):
    call = exercises.QUESTIONS[name].call
    assert any(call in source.splitlines() for cells in CODE.values() for source in cells), f'{call} is in no lesson'
    if exercises.QUESTIONS[name].needs:
        assert f'`{call}`' in exercises.judge(name, 1)[1]

@pytest.mark.parametrize('seed', [0, 1, 2])
@pytest.mark.parametrize('name', exercises.QUESTIONS)
def test_the_solution_is_right_with_new_numbers(name, seed):
    assert exercises.QUESTIONS[name].twin, 'a question has a twin'
    others = dict(dice=dice) if name == 'segment-line' else {}
    assert exercises.try_twin(name, seed, **others)[0] is True

# Names of rates are copied and not computed
NUMBERS = [name for name, q in exercises.QUESTIONS.items() if name not in ('learning-diverged', 'discriminative-rates')
           and q.read in (exercises.as_number, exercises.as_numbers, exercises.as_two_numbers)]

def rounded(number): return float(f'{number:.2f}') if abs(number) >= .1 else float(f'{number:.2g}')

@pytest.mark.parametrize('name', NUMBERS)
def test_a_rounded_answer_is_right(name):
    others = dict(dice=dice) if name == 'segment-line' else {}
    for seed in range(30):
        answer, given = exercises.solve_twin(name, seed, **others)
        by_hand = [rounded(a) for a in answer] if np.ndim(answer) else rounded(answer)
        assert exercises.judge(name, by_hand, **given)[0] is True, (seed, answer, by_hand)

def test_a_lesson_asks_only_what_there_is():
    for lesson in sorted(IN_THE_COURSE):
        cells = CODE[lesson]
        calls = [line for source in cells for line in source.splitlines() if line.startswith('check_answer(')]
        assert len(calls) >= 3, lesson
        for line in calls: assert line in [q.call for q in exercises.QUESTIONS.values()], (lesson, line)

def test_a_fault_of_the_question_is_not_the_students():
    right, text = exercises.judge('fair-verdict', 'small', difference={})
    assert right is None and 'has a fault, not your answer' in text and 'KeyError' in text
    right, text = exercises.judge('fair-verdict', 3, difference={})
    assert right is False and text.startswith('The answer should be')

def test_one_check_of_an_answer_and_one_of_images():
    assert not hasattr(exercises, 'check')
