"The slider of a page without a kernel, in a real browser."
import matplotlib.pyplot as plt
import numpy as np, pytest
from browser import CHROMIUM, chromium
from cytokit.teaching.widgets import MAX_BYTES, explore

pytest.importorskip('playwright')
pytestmark = pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine')

def wave(frequency=3, kind='sine'):
    fig, ax = plt.subplots(figsize=(6, 2.5), layout='constrained')
    x = np.linspace(0, 6, 300)
    ax.plot(x, np.sin(frequency*x) if kind == 'sine' else np.sign(np.sin(frequency*x)), color='#0072B2')
    ax.set(xlabel='time (s)', ylabel='signal (mV)', title=f'{kind}, {frequency} per second')
    return fig

@pytest.fixture(scope='module')
def page_file(tmp_path_factory):
    shown = explore(wave, 'A wave', frequency=(1, 9), kind=['sine', 'square'])
    html = shown._repr_mimebundle_()['text/html']
    assert len(html) < MAX_BYTES + 60_000
    page = tmp_path_factory.mktemp('page')/'page.html'
    page.write_text(f'<!doctype html><meta charset="utf-8"><p>Before.</p>{html}<p>After.</p>{html}')
    return page

def test_slider_and_list_change_the_image(page_file, tmp_path):
    with chromium() as browser:
        page = browser.new_page()
        errors = []
        page.on('pageerror', lambda e: errors.append(str(e)))
        page.goto(page_file.as_uri())
        assert page.get_by_role('slider').count() == 2  # the same twice on a page: each has its own
        slider, image = page.get_by_role('slider', name='frequency').first, page.get_by_role('img').first
        assert slider.get_attribute('aria-valuetext') == '3'
        assert image.get_attribute('alt') == 'A wave (frequency = 3, kind = sine)'
        first, other = image.get_attribute('src'), page.get_by_role('img').last.get_attribute('src')
        slider.focus()
        for _ in range(2): page.keyboard.press('ArrowRight')
        assert slider.get_attribute('aria-valuetext') == '5'
        second = image.get_attribute('src')
        assert second != first and page.get_by_role('img').last.get_attribute('src') == other
        page.get_by_role('combobox', name='kind').first.select_option(label='square')
        assert image.get_attribute('alt') == 'A wave (frequency = 5, kind = square)'
        assert image.get_attribute('src') not in (first, second)
        box = slider.bounding_box()
        page.mouse.click(box['x'] + box['width'] - 3, box['y'] + box['height']/2)
        assert slider.get_attribute('aria-valuetext') == '9'
        assert page.evaluate('document.images[0].decode().then(() => document.images[0].naturalWidth)') == 600
        page.screenshot(path=tmp_path/'page.png', full_page=True)
        assert errors == []

def test_without_scripts_one_image_stands_alone(page_file):
    with chromium() as browser:
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(page_file.as_uri())
        assert page.get_by_role('slider').count() == 0
        assert page.get_by_role('img').count() == 2 and page.get_by_text('A still:').count() == 2
