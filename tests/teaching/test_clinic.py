"Lesson 11 shows the guilty lines of each patient in its text: they are the lines that ran."
import json, re
from pathlib import Path

LESSON = Path(__file__).parents[2]/'nbs/lessons/11_clinic.ipynb'

def sources(kind):
    return [''.join(c['source']) for c in json.loads(LESSON.read_text())['cells'] if c['cell_type'] == kind]

def test_the_code_shown_is_the_code_that_ran():
    shown = re.findall(r'```python\n(.*?)```', '\n'.join(sources('markdown')), re.S)
    shown = [code for code in shown if not code.startswith('def broken(')]  # of an exercise: it is not run
    assert len(shown) == 12
    for code in shown: assert any(code.rstrip('\n') in source for source in sources('code')), code
