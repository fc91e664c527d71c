"The three images of the landing page, each from a real run: `python tests/cytokit_images.py` writes nbs/images."
from pathlib import Path
from tempfile import TemporaryDirectory
import io, os, sys

sys.path.insert(0, str(Path(__file__).parent/'teaching'))  # where the browser of the tests is

FOLDER = Path(__file__).resolve().parents[1]/'nbs/images'
SIZE = 800, 560  # pixels, of each image
OUTLINE = '#f0e442'  # yellow of Okabe and Ito

def of_figure(fig):
    "A figure as an image of the common size."
    from PIL import Image
    fig.set_size_inches(SIZE[0]/100, SIZE[1]/100)
    raw = io.BytesIO()
    fig.savefig(raw, format='png', dpi=100)
    return Image.open(raw).convert('RGB')

def report(home):
    "What `cytokit check --html` shows of cells with injected faults, as a browser draws it."
    from PIL import Image
    from browser import chromium
    from cytokit import check, corrupt_dataset, write_sample
    os.chdir(home)  # the page is called by the path that was given
    write_sample('cells', 'cells', n=60)
    corrupt_dataset('cells', 'my_cells', ['blur', 'saturated', 'text', 'turned'], n_each=2)
    page = home/'check.html'
    check('my_cells').to_html(page)
    with chromium() as browser:
        tab = browser.new_page(viewport=dict(width=1000, height=700))
        tab.goto(page.as_uri())
        shot = tab.screenshot()
    return Image.open(io.BytesIO(shot)).convert('RGB').resize(SIZE, Image.Resampling.LANCZOS)

def comparison(home):
    "Balanced accuracy of four methods on synthetic scans, with intervals over patients."
    from matplotlib import rc_context
    from cytokit import Preprocessing, compare, write_sample
    write_sample('mri', home/'scans', n=160)
    methods = ['majority', 'logistic', 'small', 'frozen']
    done = compare(home/'scans', methods, preprocessing=Preprocessing(size=32), epochs=8, seeds=2, out=home/'compared')
    with rc_context({'font.size': 15, 'lines.linewidth': 4}): return of_figure(done.plot())

def segmentation(home):
    "Cells that no training saw, with the outline of each object that the UNet found."
    from matplotlib.figure import Figure
    from cytokit import segment, write_sample
    from cytokit.data.formats import read_image
    write_sample('cells', home/'pairs', n=40, masks=True, overlap=.3)
    write_sample('cells', home/'unseen', n=1, seed=1, size=224, n_cells=45, masks=True, overlap=.3)
    run = segment(home/'pairs', preset='tiny', epochs=20, out=home/'unet')
    path = next((home/'unseen/images').iterdir())
    image, labels = read_image(path).array, run.objects(path)
    fig = Figure(facecolor='black')
    ax = fig.add_axes([0, 0, 1, 1])
    ax.imshow(image, cmap='gray', aspect='auto')
    for label in range(1, labels.max() + 1): ax.contour(labels == label, [.5], colors=OUTLINE, linewidths=2)
    ax.set_axis_off()
    return of_figure(fig)

def write(make, name):
    "Makes an image in an empty folder and keeps it with few colours."
    from PIL import Image
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as home: image = make(Path(home))
    image.quantize(128, dither=Image.Dither.NONE).save(FOLDER/f'{name}.png', optimize=True)

if __name__ == '__main__':
    for make in (report, comparison, segmentation): write(make, make.__name__)
