"The thumbnails of the gallery, from the figures in the notebooks: `python tests/cytokit_gallery.py` writes them."
from pathlib import Path
from cytokit.site import figures_of, thumbnail_of

NBS = Path(__file__).resolve().parents[1]/'nbs'
FOLDER = NBS/'images/gallery'

def notebooks():
    "All notebooks, in the order of their names."
    return sorted(path for path in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in path.parts)

def thumbnails():
    "Name of a file and its bytes, for each figure."
    figures = [figure for path in notebooks() for figure in figures_of(path, NBS)]
    return {f'{figure.name}.webp': thumbnail_of(figure.image) for figure in figures}

if __name__ == '__main__':
    made = thumbnails()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name not in made: old.unlink()
    for name, image in made.items(): (FOLDER/name).write_bytes(image)
    print(f'{len(made)} thumbnails; now run: nbdev-test nbs/gallery.ipynb --save')
