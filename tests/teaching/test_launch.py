"How a lesson is opened elsewhere: links, the cell that installs, slides."
import json, re, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted(ROOT.joinpath('nbs/lessons').glob('*.ipynb'))
SLIDE_TYPES = {'slide', 'subslide', 'fragment', 'skip', 'notes', '-'}

PRETEND = """
import importlib.util
find, asked = importlib.util.find_spec, ''
importlib.util.find_spec = lambda name: None if {missing} else find(name)
{run}
print(asked)
"""

def cells(path, kind):
    return [''.join(c['source']) for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_links_open_this_lesson(path):
    links = re.findall(r'\]\((https://(?:colab|mybinder|github)\S+)\)', cells(path, 'markdown')[1])
    assert len(links) == 3
    for link in links: assert link.replace('%2F', '/').endswith(f'nbs/lessons/{path.name}'), link

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_the_first_code_installs_where_cytokit_is_missing(path):
    first = cells(path, 'code')[0]
    assert '%pip install --quiet cytokit-nb' in first
    run = first.replace('%pip', 'asked = "%pip"  #')
    for missing, answer in ((False, ''), (True, '%pip')):
        done = subprocess.run([sys.executable, '-c', PRETEND.format(missing=missing, run=run)], capture_output=True, text=True)
        assert done.stdout.strip() == answer

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_each_cell_says_which_slide_it_is_on(path):
    for cell in json.loads(path.read_text())['cells']:
        assert cell['metadata']['slideshow']['slide_type'] in SLIDE_TYPES
        hidden = cell['metadata'].get('jupyter', {}).get('source_hidden', False)
        assert hidden == ('figure-code' in cell['metadata'].get('tags', []))

def test_slides_are_made(tmp_path):
    subprocess.run(['make', '-o', 'setup', 'slides', f'SLIDES={tmp_path}', f'LESSON={LESSONS[0].relative_to(ROOT)}'],
                   cwd=ROOT, check=True, capture_output=True)
    html = (tmp_path/f'{LESSONS[0].stem}.slides.html').read_text()
    assert html.count('<section') > 15 and 'code-summary: The code of this figure' not in html
