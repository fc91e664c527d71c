"""The docs site. Quarto is not needed here: `smalldocs` renders the prepared notebooks, and Chromium opens the pages.
It is laxer than Quarto about YAML, and leaves the digits in the names of pages; what else Quarto does is like it."""
import json, os, re, shutil, subprocess, sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
import pytest
from bs4 import BeautifulSoup

sys.path.insert(0, str(Path(__file__).parent/'teaching'))
from browser import CHROMIUM, chromium

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT/'nbs'
SITE = 'https://cytokit.github.io/cytokit/'
pytestmark = pytest.mark.whole

@pytest.fixture(scope='module')
def site(pages):
    "The folder of the rendered site."
    smalldocs = Path(sys.executable).with_name('smalldocs')
    done = subprocess.run([smalldocs, 'render', pages], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return pages/'_docs'

@pytest.fixture(scope='module')
def soups(site):
    "Each page by its path, parsed once."
    files = [path for path in sorted(site.rglob('*.html')) if 'site_libs' not in path.parts]
    return {path.relative_to(site).as_posix(): BeautifulSoup(path.read_text(encoding='utf-8'), 'html.parser')
            for path in files}

def without_digits(page):
    "The path of a page as Quarto calls it: nbdev takes the digits off the name of the notebook."
    folder, _, name = page.rpartition('/')
    return f'{folder}/{re.sub(r"^[0-9]+_", "", name)}'.lstrip('/')

def test_no_two_pages_have_one_address(soups):
    assert len({without_digits(page) for page in soups}) == len(soups) > 150

def test_each_link_leads_to_a_page_and_a_place_on_it(soups, site):
    places = {page: {tag['id'] for tag in soup.find_all(id=True)} for page, soup in soups.items()}
    called = {without_digits(page): page for page in soups}
    broken = []
    for page, soup in soups.items():
        for tag in soup.find_all('a', href=True):
            address, place = urldefrag(urljoin(SITE + page, tag['href']))
            if not address.startswith(SITE): continue
            target = unquote(urlsplit(address.removeprefix(SITE)).path) or 'index.html'
            target = called.get(target, target)
            if target not in places: there = (site/target).is_file()
            else: there = not place or unquote(place) in places[target] or place == 'top'
            if not there: broken.append(f'{page}: {tag["href"]}')
    assert broken == []

def test_no_markdown_is_left_over(soups):
    "Such as a link in a link, where nbdev made a name in the text of a link into one."
    left = []
    for page, soup in soups.items():
        for text in soup.main.find_all(string=re.compile(r'\]\(|\*\*|^:::|\]\{')):
            if not text.find_parent(['code', 'pre', 'script', 'style']): left.append(f'{page}: {text[:100]}')
    assert left == []

def test_pages_and_images_are_light(site):
    heavy = {path.name: path.stat().st_size for path in site.rglob('*.html') if path.stat().st_size > 1_000_000}
    images = [path for kind in ('png', 'jpg', 'jpeg', 'webp', 'svg') for path in site.rglob(f'*.{kind}')]
    heavy |= {path.name: path.stat().st_size for path in images if path.stat().st_size > 300_000}
    assert heavy == {} and len(images) > 200

def test_each_page_has_one_title_and_each_image_a_text(soups):
    for page, soup in soups.items():
        titles = [title for title in soup.find_all('h1') if not title.find_parent(class_='cell-output')]
        assert len(titles) == 1, page
        for image in soup.main.find_all('img'): assert image.get('alt'), (page, str(image)[:200])

def test_tests_are_folded_on_library_pages(soups):
    page = soups['quality/04_masks.html']
    folded = [tag for tag in page.find_all('details') if tag.summary.get_text(strip=True) == 'Test']
    assert len(folded) > 3 and all('test' in tag.get_text() or 'assert' in tag.get_text() for tag in folded)

@pytest.mark.parametrize('page, name, leads_to', [
    ('training/09_fit.html', 'train', 'training/fit.html'), ('lessons/10_numbers.html', 'check', 'quality/check.html'),
    ('cli/02_networks.html', 'rerun', 'cli/networks.html')])
def test_a_name_in_prose_leads_to_what_the_page_means(soups, page, name, leads_to):
    "The package and the command both have a train and a check; nbdev knows one address for each name."
    links = [code.parent['href'] for code in soups[page].main.select('a > code') if code.get_text() == name]
    assert links and all(link.endswith(f'/{leads_to}#{name}') for link in links)

def test_what_the_site_needs_is_made(site):
    assert (site/'404.html').exists() and (site/'versions.html').exists() and (site/'favicon.svg').exists()
    assert 'lessons' in (site/'sitemap.xml').read_text(encoding='utf-8')
    assert len((site/'llms.txt').read_text(encoding='utf-8').splitlines()) > 100
    assert list((site/'fonts').glob('*.woff2')) and (site/'fonts/LICENSE.txt').exists()

@pytest.mark.parametrize('name', ['gallery', 'library'])
def test_the_pages_of_lists_are_up_to_date(name, monkeypatch):
    "Their saved output is what their cells make now: `nbdev-test nbs/NAME.ipynb --save` renews it."
    monkeypatch.chdir(NBS)
    names = {}
    for cell in json.loads((NBS/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']:
        if cell['cell_type'] != 'code': continue
        *lines, last = ''.join(cell['source']).strip().splitlines()
        if cell['outputs']:
            exec('\n'.join(lines), names)
            assert eval(last, names).data == ''.join(cell['outputs'][0]['data']['text/markdown'])
        else: exec('\n'.join([*lines, last]), names)

def test_thumbnails_are_those_of_the_figures():
    "`python tests/cytokit_gallery.py` renews them. Versions of Pillow may write other bytes for the same pixels."
    import io
    import numpy as np
    from PIL import Image
    from cytokit_gallery import FOLDER, thumbnails
    made = thumbnails()
    assert {path.name for path in FOLDER.iterdir()} == set(made) and len(made) > 200
    page = (NBS/'gallery.ipynb').read_text(encoding='utf-8')
    assert [name for name in made if f'gallery/{name}' not in page] == []
    pixels = lambda file: np.asarray(Image.open(file).convert('RGB'), float)
    for name, image in made.items():
        kept, new = pixels(FOLDER/name), pixels(io.BytesIO(image))
        assert kept.shape == new.shape and abs(kept - new).mean() < 2, name

def test_lessons_and_howto_pages_can_be_launched():
    pages = [path for folder in ('lessons', 'howto') for path in (NBS/folder).glob('*.ipynb')]
    for path in sorted(pages):
        if path.name == '03_terms.ipynb': continue  # made from the lessons beside it: runs in the repository only
        text = ''.join(''.join(cell['source']) for cell in json.loads(path.read_text(encoding='utf-8'))['cells'])
        place = f'{path.parent.name}/{path.name}'
        for part in (f'colab.research.google.com/github/cytokit/cytokit/blob/main/nbs/{place}',
                     f'labpath=nbs%2F{place.replace("/", "%2F")}', f'raw/main/nbs/{place}',
                     '%pip install --quiet cytokit-nb'):
            assert part in text, (path.name, part)
        if path.parent.name == 'lessons': assert 'minute' in text, path.name

def workflow_step(name):
    "The shell lines of a step in docs.yml."
    import yaml
    workflow = yaml.safe_load((ROOT/'.github'/'workflows'/'docs.yml').read_text(encoding='utf-8'))
    steps = workflow['jobs']['render']['steps']
    return next(step['run'] for step in steps if step.get('name') == name)

GH = """#!/bin/sh
# Stands for GitHub: two releases, the older without a kept site
case "$2" in
  list) printf 'v0.3.0\\nv0.1.0\\n';;
  download) [ "$3" = v0.3.0 ] && cp "$KEPT" site-of-tag.tar.gz;;
esac
"""

@pytest.mark.skipif(sys.platform == 'win32' or not shutil.which('jq'), reason='needs a POSIX shell and jq')
def test_sites_of_releases_lie_below_their_numbers(tmp_path):
    old = tmp_path/'old'
    (old/'howto').mkdir(parents=True)
    for page in ('index.html', 'howto/x.html'):
        (old/page).write_text('<html><body class="nav">ä</body></html>', encoding='utf-8')
    subprocess.run(['tar', '-czf', tmp_path/'kept.tar.gz', '-C', old, '.'], check=True)
    (tmp_path/'_docs').mkdir()
    (tmp_path/'.ci').symlink_to(ROOT/'.ci')
    (tmp_path/'bin').mkdir()
    (tmp_path/'bin'/'gh').write_text(GH)
    (tmp_path/'bin'/'gh').chmod(0o755)
    env = os.environ | {'PATH': f'{tmp_path/"bin"}:{os.environ["PATH"]}', 'KEPT': str(tmp_path/'kept.tar.gz')}
    step = workflow_step('The sites of the releases below their numbers')
    subprocess.run(['bash', '-e', '-c', step], cwd=tmp_path, env=env, check=True, capture_output=True)
    assert json.loads((tmp_path/'_docs'/'versions.json').read_text()) == ['0.3.0']
    kept = tmp_path/'_docs'/'0.3.0'
    first, below = ((kept/page).read_text(encoding='utf-8') for page in ('index.html', 'howto/x.html'))
    assert below.startswith('<html><body class="nav"><p role="note"') and 'version 0.3.0' in below and 'ä' in below
    assert 'href="../index.html"' in first and 'href="../../index.html"' in below

# From here on in Chromium

@pytest.fixture(scope='module')
def visit(site):
    "Opens a page at a width, in light or dark."
    if not CHROMIUM: pytest.skip('there is no chromium')
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Silent, directory=site))
    Thread(target=server.serve_forever, daemon=True).start()
    with chromium() as browser:
        tabs = {}
        def visit(page, width=1440, look='light'):
            if (width, look) not in tabs:
                tabs[width, look] = browser.new_page(viewport=dict(width=width, height=900), color_scheme=look)
                tabs[width, look].route(re.compile(r'^https?://(?!127)'), lambda route: route.abort())
            tab = tabs[width, look]
            tab.goto(f'http://127.0.0.1:{server.server_port}/{page}')
            return tab
        yield visit
    server.shutdown()

def pages_of(*folders):
    return [f'{folder}/{path.stem}.html' for folder in folders for path in sorted((NBS/folder).glob('*.ipynb'))]

FEW = ['index.html', 'gallery.html', 'library.html', 'lessons/05_learning_rate.html', 'howto/00_your_images.html',
       'quality/04_masks.html']
ALL = ['404.html', 'versions.html', *FEW[:3], *pages_of('lessons', 'howto', 'handbook')]

@pytest.mark.parametrize(('width', 'read'), [(390, ALL), (800, FEW), (1440, FEW)])
def test_no_page_scrolls_sideways(visit, width, read):
    "A table or a box of code may scroll inside; the page may not."
    wide = {}
    for page in read:
        found = visit(page, width).evaluate('document.documentElement.scrollWidth')
        if found > width: wide[page] = found
    assert wide == {}

def test_the_first_screen_shows_what_it_is(visit):
    "What it does, three images, how to install it, and three doors, without scrolling."
    tab = visit('index.html')
    parts = [tab.query_selector('main pre'), *tab.query_selector_all('.lead-in, .shots img, .door')]
    boxes = [part.bounding_box() for part in parts]
    assert len(boxes) == 8 and max(box['y'] + box['height'] for box in boxes) <= 900
    doors = [link.get_attribute('href') for link in tab.query_selector_all('.door > p:first-child a')]
    assert doors == ['lessons/00_plan.html', 'howto/00_your_images.html', 'library.html']

OURS = [['main'], ['.navbar-nav'], ['.quarto-secondary-nav'], ['#quarto-sidebar']]

LOOKS = [(1440, 'light'), (1440, 'dark'), (390, 'light')]

# The library is long, and looks like any page
@pytest.mark.parametrize(('page', 'width', 'look'),
                         [(page, *look) for page in FEW for look in (LOOKS[:1] if page == 'library.html' else LOOKS)])
def test_contrast_names_and_keyboard(visit, page, look, width):
    "WCAG 2 A and AA, as axe-core can tell, of what is ours: the text and the colours."
    from axe_playwright_python.sync_playwright import Axe
    rules = dict(runOnly=['wcag2a', 'wcag2aa', 'wcag21aa'])
    found = Axe().run(visit(page, width, look), context=dict(include=OURS), options=rules).response['violations']
    assert [(v['id'], node['html'][:200]) for v in found for node in v['nodes']] == []
