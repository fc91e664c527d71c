"""How many good files of real sets `cytokit check` accuses, kind by kind; and how many injected faults it finds in them.

    .venv/bin/python benchmarks/false_alarms.py --out benchmarks/results/false_alarms.json
    .venv/bin/python benchmarks/false_alarms.py --sets malaria_like bccd_cells --keep /tmp/sets

The sets are made from ../shared/data: crops of blood smears by box (as they are, at 50 pixels, and as ellipses on black with a
painted parasite in every second one, as malaria crops are), blood cells by class, photographs, nuclei, brain slices, embryos, red
cells. Every set was published as good. `TRUE` lists what was looked at and is truly so; the rest counts as a false alarm."""
import argparse, json, os, subprocess, sys, tempfile
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter
from cytokit.core import rng, write_json

DATA = Path(__file__).resolve().parents[2]/'shared'/'data'

def crops(least=8):
    "Every box of the blood smears: (name, cell type, image)."
    boxes = pd.read_csv(DATA/'bccd'/'boxes.csv').query('defect != "zero_size_box"')
    for name, own in boxes.groupby('image', sort=True):
        smear = Image.open(DATA/'bccd'/'images'/name).convert('RGB')
        for i, b in enumerate(own.itertuples()):
            if min(b.xmax - b.xmin, b.ymax - b.ymin) >= least:
                yield f'{Path(name).stem}_{i:02d}.png', b.cell_type, smear.crop((b.xmin, b.ymin, b.xmax, b.ymax))

def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)

def bccd_cells(out, most=600):
    "Crops of their own sizes; the class is the size, by nature."
    n = {}
    for name, kind, image in crops():
        n[kind] = n.get(kind, 0) + 1
        if n[kind] <= most: save(image, out/kind/name)
    return [out]

def bccd_small(out, most=600):
    "The same, all at 50 pixels a side: small and smooth."
    n = {}
    for name, kind, image in crops():
        n[kind] = n.get(kind, 0) + 1
        if n[kind] <= most: save(image.resize((50, 50), Image.Resampling.BICUBIC), out/kind/name)
    return [out]

def bccd_padded(out, side=100):
    "A window of one size around the middle of each box; black where it leaves the smear."
    n = 0
    for name, own in pd.read_csv(DATA/'bccd'/'boxes.csv').query('defect != "zero_size_box"').groupby('image', sort=True):
        smear = Image.open(DATA/'bccd'/'images'/name).convert('RGB')
        for i, b in enumerate(own.itertuples()):
            x, y = (b.xmin + b.xmax - side)//2, (b.ymin + b.ymax - side)//2
            save(smear.crop((x, y, x + side, y + side)), out/b.cell_type/f'{Path(name).stem}_{i:02d}.png')
            n += 1
        if n > 1500: break
    return [out]

def parasite(image, r):
    "A dark purple ring or dot, out of focus as the cell is."
    ink = Image.new('L', image.size)
    x, y = r.uniform(.3, .7, 2)*image.size
    size = r.uniform(.05, .11)*min(image.size)
    box = [x - size, y - size, x + size, y + size]
    ImageDraw.Draw(ink).ellipse(box, fill=255 if r.random() < .6 else None, outline=255, width=max(1, round(size/2)))
    ink = ink.filter(ImageFilter.GaussianBlur(1)).point(lambda v: v*.8)
    return Image.composite(Image.new('RGB', image.size, (90, 40, 130)), image, ink)

def on_black(image, r):
    "An ellipse around the middle; black elsewhere."
    mask = Image.new('L', image.size)
    w, h = image.size
    edge = r.uniform(0, .06, 4)*[w, h, w, h]
    ImageDraw.Draw(mask).ellipse([edge[0], edge[1], w - 1 - edge[2], h - 1 - edge[3]], fill=255)
    return Image.composite(image, Image.new('RGB', image.size), mask)

def malaria_like(out, most=1600, side=50):
    "Red cells on black at about 50 pixels, half of them with a parasite."
    r, n = rng(0, 'malaria'), 0
    for name, kind, image in crops(60):
        if kind != 'RBC': continue
        ill = n % 2 == 1
        image = on_black(parasite(image, r) if ill else image, r)
        scale = side/max(image.size)
        image = image.resize([round(v*scale) for v in image.size], Image.Resampling.BICUBIC)
        save(image, out/('parasitized' if ill else 'uninfected')/name.replace('BloodImage', 'C'))
        n += 1
        if n == most: break
    return [out]

def listed(out, folder, csv, file, target, split=None, group=None):
    "A table beside the files where they are."
    t = pd.read_csv(DATA/folder/csv)
    d = pd.DataFrame(dict(image=[str(DATA/folder/f) for f in t[file]], target=t[target]))
    if split: d['split'] = t[split].replace({'validation': 'valid'})
    if group: d['group'] = t[group]
    out.mkdir(parents=True, exist_ok=True)
    d.to_csv(out/'table.csv', index=False)
    return [out/'table.csv']

def white_cells(out): return listed(out, 'wbc_segmentation', 'labels.csv', 'file', 'class')
def photographs(out): return listed(out, 'clothing10', 'labels.csv', 'file', 'label', split='split')
def brain_contrast(out): return listed(out, 'open_ms_contrast', 'slices.csv', 'file', 'contrast', group='patient')

def linked(out, folder, keep=lambda name: True):
    "Links to the files of a folder."
    out.mkdir(parents=True, exist_ok=True)
    for p in sorted((DATA/folder).iterdir()):
        if keep(p.stem): (out/p.name).symlink_to(p)
    return out

def photo_crops(out, most=600, side=64):
    "Pieces of photographs: some are cloth of one weave, some a wall."
    r = rng(0, 'photo crops')
    for i, p in enumerate(sorted((DATA/'clothing10').rglob('*.jpg'))[:most]):
        photo = Image.open(p).convert('RGB')
        x, y = (int(r.integers(0, n - side + 1)) for n in photo.size)
        save(photo.crop((x, y, x + side, y + side)), out/f'{i:04d}.png')
    return [out]

def with_masks(images, masks):
    def make(out): return [linked(out/'images', images), '--masks', linked(out/'masks', masks)]
    return make

def nuclei(out):
    t = pd.read_csv(DATA/'nuclei'/'images.csv').query('split == "train"')
    mine = set(t.id.map(str))
    return [linked(out/'images', 'nuclei/images', mine.__contains__), '--masks', linked(out/'masks', 'nuclei/labels', mine.__contains__)]

def lesions(out):
    "Slices that hold a lesion; many are small and faint."
    t = pd.read_csv(DATA/'open_ms_lesions'/'slices.csv')
    mine = set(t.file[t.has_lesion == 1].map(lambda f: Path(f).stem))
    return [linked(out/'images', 'open_ms_lesions/FLAIR', mine.__contains__), '--masks', linked(out/'masks', 'open_ms_lesions/lesion', mine.__contains__)]

SETS = dict(bccd_cells=bccd_cells, bccd_small=bccd_small, bccd_padded=bccd_padded, malaria_like=malaria_like, white_cells=white_cells, photographs=photographs, photo_crops=photo_crops,
    brain_contrast=brain_contrast, nuclei=nuclei, lesions=lesions,
    photo_folder=lambda out: [DATA/'clothing10'/'train'],
    smears=lambda out: [linked(out, 'bccd/images')],
    tissue=with_masks('ptbp_t1_tissue/images', 'ptbp_t1_tissue/labels'),
    membrane=with_masks('isbi_membrane/train/image', 'isbi_membrane/train/label'),
    embryos=with_masks('cytounet_examples/bbbc003_embryo/images', 'cytounet_examples/bbbc003_embryo/masks'),
    red_cells=with_masks('cytounet_examples/bbbc009_rbc/images', 'cytounet_examples/bbbc009_rbc/outlines'),
    cho=with_masks('cytounet_examples/bbbc030_cho/images', 'cytounet_examples/bbbc030_cho/masks'))

# (set, check) -> files that were looked at and are truly so ('*': all of them)
TRUE = {
    ('white_cells', 'exact_duplicate'): ['139.png'],
    ('white_cells', 'near_duplicate'): ['158.png', '169.png', '171.png'],                        # one cell, cut twice
    ('smears', 'near_duplicate'): ['BloodImage_00038.jpg'],
    ('bccd_cells', 'near_duplicate'): ['BloodImage_00020_14.png', 'BloodImage_00252_09.png'],     # two boxes on one cell
    ('bccd_small', 'near_duplicate'): ['BloodImage_00020_14.png', 'BloodImage_00252_09.png'],
    ('bccd_small', 'blurred'): ['BloodImage_00113_12.png'],                                      # a platelet out of focus, enlarged
    ('white_cells', 'label_wrong'): ['268.png'],                                                 # a three-lobed neutrophil, called monocyte
    ('nuclei', 'odd_mode'): '*',                                                                 # the set is a mixture
    ('cho', 'mask_fragments'): ['cho06.png', 'cho07.png', 'cho13.png', 'cho36.png', 'cho42.png', 'cho46.png', 'cho52.png', 'cho57.png'],  # outlines not filled
}

def truly(name, check, files):
    "Which of the files were seen to be so."
    seen = TRUE.get((name, check), ())
    return set(files) if seen == '*' else set(files) & set(seen)

def checked(args, folder):
    "What `cytokit check --json` says, as a process with a cold cache."
    out = folder/'found.json'
    env = os.environ | dict(CYTOKIT_CACHE=str(folder/'cache'), PYTHONWARNINGS='ignore')
    start = 'from cytokit.cli import entry; entry()'
    run = [sys.executable, '-c', start, '--quiet', 'check', *map(str, args), '--json', str(out)]
    done = subprocess.run(run, env=env, cwd=folder, capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stderr)
    return json.loads(out.read_text())

def counted(name, found):
    "A row a check: files, true ones among them, and the share of good files accused."
    d, n, rows = pd.DataFrame(found['findings'], columns=['file', 'check', 'severity', 'message']), found['files'], []
    for (check, severity), own in d.groupby(['check', 'severity'], sort=True):
        files = {Path(f).name for f in own.file if f}
        true = truly(name, check, files)
        rows.append(dict(set=name, check=check, severity=severity, files=len(files), about_the_set=int((own.file == '').sum()), true=len(true),
                         false_share=(len(files) - len(true))/n))
    bad = d[d.severity.isin(['error', 'warning'])]
    false = {Path(f).name for f, c in zip(bad.file, bad.check) if f and not truly(name, c, [Path(f).name])}
    return rows, dict(set=name, n=n, accused=len(false), share=len(false)/n)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--sets', nargs='+', default=list(SETS), choices=list(SETS))
    p.add_argument('--keep', type=Path, help='Leave the sets and what was found in this folder')
    p.add_argument('--out', type=Path, help='JSON to write')
    a, rows, totals = p.parse_args(), [], []
    for name in a.sets:
        with tempfile.TemporaryDirectory() as tmp:
            folder = (a.keep or Path(tmp).resolve())/name
            folder.mkdir(parents=True, exist_ok=True)
            args = json.loads((folder/'args.json').read_text()) if (folder/'args.json').exists() else [str(v) for v in SETS[name](folder/'set')]
            (folder/'args.json').write_text(json.dumps(args))
            more, total = counted(name, checked(args, folder))
        rows, totals = rows + more, totals + [total]
        print(f'\n{name}: {total["n"]} files, {total["accused"]} good ones with an error or a warning ({total["share"]:.1%})')
        print(pd.DataFrame(more).drop(columns=['set']).round(4).to_string(index=False) if more else 'nothing found', flush=True)
    if a.out: write_json(a.out, dict(sets=totals, checks=rows))

if __name__ == '__main__': main()
