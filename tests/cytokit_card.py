"The picture that other sites show beside a link to the docs: `python tests/cytokit_card.py` writes nbs/card.png."
from pathlib import Path
import configparser, io, textwrap

ROOT = Path(__file__).resolve().parents[1]
COLOURS = ['#f0e442', '#56b4e9', '#e69f00', '#009e73', '#cc79a7']  # Okabe and Ito: colour-blind readers tell them apart

def card():
    "1200 × 630 pixels: the name, the promise, and cells that are half raw, half outlined."
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image
    from cytokit.data.synthetic import make_cells
    project = configparser.ConfigParser(delimiters=['='], interpolation=None)
    project.read(ROOT/'settings.ini')
    image, labels = make_cells(7, size=315, n_cells=55, overlap=.3, noise=0, background=0)
    fig = Figure(figsize=(12, 6.3), dpi=100, facecolor='black')
    ax = fig.add_axes([.475, 0, .525, 1])
    ax.imshow(image, cmap='gray', vmax=np.percentile(image, 99.7))
    ax.set_axis_off()
    for label in np.unique(labels)[1:]:
        mask = labels == label
        colour = COLOURS[label % len(COLOURS)]
        if np.argwhere(mask)[:, 1].mean() > 150: ax.contour(mask, [.5], colors=colour, linewidths=2.5)
    fig.text(.055, .56, 'cytokit', color='white', size=68, weight='bold')
    promise = textwrap.fill(project['DEFAULT']['description'], 26)
    fig.text(.055, .48, promise, color='#cfd8dc', size=25, linespacing=1.5, va='top')
    raw = io.BytesIO()
    fig.savefig(raw, format='png')
    return Image.open(raw).convert('RGB').quantize(64, dither=Image.Dither.NONE)

if __name__ == '__main__': card().save(ROOT/'nbs/card.png', optimize=True)
