"""Corpora with planted faults, and how many of them `cytokit.quality.check` finds.

    .venv/bin/python benchmarks/quality_faults.py --n 1000 --seeds 0 1 2 --kinds png8 tiff16 jpeg

The corpus is that of dataquality.md §2a: 256×256, four folders (fluorescence with small and large cells, brightfield sparse and dense),
Poisson-like plus read noise, uneven light. Seeds 100–102 are for tuning, 0–2 for judging."""
import argparse, os, shutil, tempfile, time
os.environ.setdefault('OMP_NUM_THREADS', '1'); os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
from pathlib import Path
import numpy as np, pandas as pd
from scipy import ndimage as ndi
from cytokit.core import parallel_map, rng, write_json

# Fault -> checks that count as a hit
HITS = dict(corrupt={'unreadable'}, exact={'exact_duplicate'}, near={'near_duplicate'}, turned={'turned_duplicate'}, inverted={'inverted_duplicate'},
    blur={'blurred'}, post_blur={'blurred'}, dark={'dark'}, saturated={'saturated'}, low_contrast={'low_contrast'}, mode={'odd_mode'}, depth={'odd_depth'})
# Fault -> checks that are true of it too and so are no false alarm
ALSO = dict(saturated={'bright', 'low_contrast'}, dark={'low_contrast', 'blurred'}, inverted={'bright', 'dark', 'near_duplicate', 'turned_duplicate'}, low_contrast={'bright', 'dark', 'blurred'},
    exact={'near_duplicate', 'turned_duplicate'}, near={'exact_duplicate'}, turned={'near_duplicate'}, depth={'odd_mode', 'odd_size', 'dark', 'bright', 'low_contrast'}, mode={'odd_depth', 'odd_channels'},
    blur={'low_contrast'}, post_blur={'low_contrast'})
CLASSES = ('fluo_small', 'fluo_large', 'bright_sparse', 'bright_dense')
KINDS = dict(png8=('.png', 255), tiff16=('.tif', 4095), jpeg=('.jpg', 255))
SIZE = 256

_t = (np.arange(SIZE, dtype='f4') + .5)/SIZE
_wave = {k: np.cos(np.pi*_t[:, None]*np.arange(k, dtype='f4')[None]) for k in (4, 24)}

def _field(r, k):
    "Smooth noise of deviation about 1 from k×k cosines."
    a = r.standard_normal((k, k), dtype='f4'); a[0, 0] = 0
    return _wave[k]@a@_wave[k].T/np.float32(k/2)

def scene(r, cls):
    "Light without noise, (256, 256) float32 in 0..1."
    n, lo, hi = dict(fluo_small=((30, 60), 5, 9), fluo_large=((6, 14), 14, 22), bright_sparse=((8, 16), 8, 14), bright_dense=((40, 70), 8, 13))[cls]
    n, fluo = int(r.integers(*n)), cls.startswith('fluo')
    img = np.zeros((SIZE, SIZE), 'f4')
    at, rad, phi, flat, own = r.uniform(-5, SIZE + 5, (n, 2)), r.uniform(lo, hi, n), r.uniform(0, np.pi, n), r.uniform(.65, 1, n), r.uniform(.6, 1, n)
    for (y, x), q, p, f, b in zip(at, rad, phi, flat, own):
        w = int(1.35*q + 5); y0, y1, x0, x1 = max(int(y) - w, 0), min(int(y) + w, SIZE), max(int(x) - w, 0), min(int(x) + w, SIZE)
        dy, dx = np.arange(y0, y1, dtype='f4')[:, None] - np.float32(y), np.arange(x0, x1, dtype='f4')[None] - np.float32(x); c, s = np.float32(np.cos(p)), np.float32(np.sin(p))
        d = np.sqrt((c*dx + s*dy)**2 + ((c*dy - s*dx)/np.float32(f))**2) - np.float32(q)
        v = img[y0:y1, x0:x1]
        if fluo: np.maximum(v, np.float32(b)*np.clip(.5 - d/2, 0, 1), out=v)
        else: v += np.float32(b)*(.9*np.exp(-((d - 2)/2)**2) - np.exp(-(d/1.5)**2) - .25*np.clip(.5 - d/2, 0, 1))
    grain = ndi.gaussian_filter(r.standard_normal((SIZE, SIZE), dtype='f4'), 1.)*3.5
    gain = np.float32(np.exp(r.normal(0, .12)))
    light = 1 + np.float32(r.uniform(.05, .12))*_field(r, 4)
    if fluo: img = np.float32(r.uniform(.04, .08)) + gain*.48*img*(1 + .22*grain + .15*_field(r, 24))
    else: img = np.float32(r.uniform(.52, .62))*(1 + gain*.45*np.clip(img*(1 + .15*grain), -1.2, 1.2) + .03*_field(r, 24))
    return np.clip(ndi.gaussian_filter(img*light, r.uniform(.7, 1.)), 0, .96)

def shot(r, light, top):
    "What the camera makes of it: photon and read noise, in counts 0..top."
    noisy = light + np.sqrt(8e-4*light + .006**2).astype('f4')*r.standard_normal(light.shape, dtype='f4')
    return _counts(noisy*top, top)

def _counts(x, top): return np.clip(np.rint(x), 0, top).astype('u1' if top < 256 else 'u2')

def _save(path, a, again=False):
    "Write by extension; `again` packs the same pixels into other bytes."
    from PIL import Image
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in ('.tif', '.tiff'):
        import tifffile
        tifffile.imwrite(path, a, compression='zlib' if again else None, photometric='rgb' if a.ndim == 3 else 'minisblack')
    elif path.suffix == '.jpg': Image.fromarray(a).save(path, quality=90)
    else: Image.fromarray(a).save(path, compress_level=6 if again else 1)

def _read(path):
    from cytokit.data.formats import read_image
    return read_image(path).array

_TURNS = dict(rot90=lambda a: np.rot90(a), rot180=lambda a: np.rot90(a, 2), rot270=lambda a: np.rot90(a, 3), mirrored=lambda a: a[:, ::-1], flipped=lambda a: a[::-1], transposed=lambda a: a.T)

def _plant(out, fault, i, j, name, source, kind, seed):
    "Write the j-th file of a fault; its row of the key."
    ext, top = KINDS[kind]; cls = name.split('/')[0]; r = rng(seed, 'fault', fault, j); half = j % 2
    own = rng(seed, 'scene', i); p = out/(name + ext); other = severity = ''
    def made(change=lambda s: s): return shot(rng(seed, 'noise', i), change(scene(own, cls)), top)
    if fault in ('exact', 'near', 'turned', 'inverted'):
        src = out/source; other = source; a = None if fault == 'exact' and not half else _read(src)
        if fault == 'exact':
            if not half: shutil.copyfile(src, p); severity = 'bytes'
            else: p = p.with_suffix('.png') if ext == '.jpg' else p; _save(p, a, True); severity = 'packed anew'
        elif fault == 'near':
            k = 1 + r.choice([-1, 1])*r.uniform(.02, .05); dy, dx = [(0, 1), (1, 0), (-1, 0), (0, -1), (0, 0)][j % 5]
            b = np.roll(a.astype('f4')*k, (dy, dx), (0, 1)); severity = f'×{k:.3f}, shift {dy} {dx}'
            if dy or dx: b = np.pad(b[max(dy, 0):SIZE + min(dy, 0), max(dx, 0):SIZE + min(dx, 0)], ((max(dy, 0), max(-dy, 0)), (max(dx, 0), max(-dx, 0))), mode='edge')
            _save(p, _counts(b, top))
        elif fault == 'turned': severity = list(_TURNS)[j % 6]; _save(p, np.ascontiguousarray(_TURNS[severity](a)))
        else: _save(p, (top - a).astype(a.dtype))
    elif fault == 'corrupt':
        severity = ('truncated', 'empty', 'html', 'bits')[(0, 0, 0, 0, 0, 0, 0, 1, 2, 3)[j % 10]]; _save(p, made()); b = bytearray(p.read_bytes())
        if severity == 'truncated': b = b[:int(len(b)*r.uniform(.1, .9))]
        if severity == 'empty': b = b''
        if severity == 'html': b = b'<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n'
        if severity == 'bits': b[:16] = bytes(r.integers(0, 256, 16, dtype='u1'))
        p.write_bytes(b)
    elif fault == 'mode':
        a = made(); severity = 'RGB' if half or ext == '.jpg' else 'RGBA'
        _save(p, np.stack([a]*3 + [np.full_like(a, np.iinfo(a.dtype).max)]*(severity == 'RGBA'), -1))
    elif fault == 'depth':
        if ext == '.tif': severity = '8 of 16 bit'; _save(p, _counts(made()/16, 255))
        else:
            severity = ('16 bit', '12 of 16 bit')[half]; p = p.with_suffix(('.tif', '.png')[j//2 % 2] if ext == '.png' else '.tif')
            top = 4095 if half else 65535; _save(p, made())
    else:
        k = dict(blur=(2, 4), post_blur=(1.5, 3), dark=(.06, .18), saturated=(2.8, 5) if cls[0] == 'f' else (1.65, 1.9), low_contrast=(.08, .2))[fault]; k = round(r.uniform(*k), 3); severity = k
        if fault == 'blur': a = made(lambda s: ndi.gaussian_filter(s, k))
        elif fault == 'post_blur': a = made(); a = _counts(ndi.gaussian_filter(a.astype('f4'), k), top)
        elif fault in ('dark', 'saturated'): a = made(lambda s: s*np.float32(k))
        elif half: a = made(lambda s: .35 + (s - s.mean())*np.float32(k))
        else: a = made(); a = _counts(a.mean() + (a - a.mean())*k, top)
        _save(p, a)
    return dict(file=p.relative_to(out).as_posix(), fault=fault, severity=severity, other=other)

def corpus(
    out, # Folder to make
    n:int=1000, # Files in all
    seed:int=0,
    kind:str='png8', # 'png8', 'tiff16' (12 bits of 16) or 'jpeg' (quality 90)
    n_each=None, # Files a fault; None: n/100, between 10 and 50
    faults=tuple(HITS), # () for a clean set
)->pd.DataFrame: # file, fault, severity, other (the one it copies); what it does not list is clean
    "Write a corpus; its key is returned and stands beside it as `OUT.key.csv`."
    out = Path(out); n_each = n_each or min(max(n//100, 10), 50); ext, top = KINDS[kind]
    clean = n - n_each*len(faults)
    names = [f'{CLASSES[i % 4]}/im{k:05d}' for i, k in enumerate(rng(seed, 'names').permutation(n))]
    parallel_map(lambda i: _save(out/(names[i] + ext), shot(rng(seed, 'noise', i), scene(rng(seed, 'scene', i), CLASSES[i % 4]), top)), range(clean), 'clean')
    free = {c: [int(i) for i in rng(seed, 'sources', c).permutation(clean) if CLASSES[i % 4] == c] for c in CLASSES}
    jobs = []
    for i, (fault, j) in enumerate(((f, j) for f in faults for j in range(n_each)), clean):
        source = names[free[CLASSES[i % 4]].pop()] + ext if fault in ('exact', 'near', 'turned', 'inverted') else None
        jobs.append((fault, i, j, names[i], source))
    rows = parallel_map(lambda a: _plant(out, *a, kind, seed), jobs, 'faults')
    key = pd.DataFrame(rows, columns=['file', 'fault', 'severity', 'other'])
    key.to_csv(out.parent/f'{out.name}.key.csv', index=False)
    return key

def findings(path):
    "What the checker says of a folder: `cytokit.quality.check` where it is there, else its parts."
    try: from cytokit.quality.check import check
    except ImportError:
        from cytokit.data.preprocess import find_images
        from cytokit.quality.duplicates import duplicate_findings, duplicates
        from cytokit.quality.image_checks import image_findings
        from cytokit.quality.images import measure_all
        rows = measure_all(find_images(path))
        return pd.concat([image_findings(rows), duplicate_findings(duplicates(rows))], ignore_index=True)
    return check(path).findings

def judge(found, key, root, n):
    "A row a fault: planted, found, recall, precision; and the share of clean files with an error, and with a warning."
    rel = lambda f: Path(f).relative_to(root).as_posix() if Path(f).is_absolute() else str(f)
    d = found.assign(file=found.file.map(rel), other=found.other.map(lambda f: rel(f) if f else ''))
    fault = dict(zip(key.file, key.fault)); pairs = {frozenset(p): f for *p, f in zip(key.file, key.other, key.fault) if p[1]}
    rows = []
    for f, checks in HITS.items():
        k, said = key[key.fault == f], d[d.check.isin(checks)]
        if not len(k): continue
        sources = {frozenset(p) for p in zip(k.file, k.other)} if (k.other != '').all() else set()
        true = {g for g in HITS if HITS[g] & checks or ALSO.get(g, set()) & checks}
        if sources:  # pairs: either file may be named
            named = {frozenset(p) for p in zip(said.file, said.other)}
            hit, wrong = len(sources & named), sum(pairs.get(p) not in true for p in named)
        else:
            named = set(said.file)
            hit, wrong = len(named & set(k.file)), sum(fault.get(p) not in true for p in named)
        rows.append(dict(fault=f, planted=len(k), found=hit, recall=hit/len(k), precision=(len(named) - wrong)/len(named) if named else float('nan'), false=wrong,
                         missed=sorted(set(k.file) - (set().union(*named) if sources and named else named))[:5]))
    dirty = set(key.file) | set(key.other)
    flagged = lambda s: len(set(d.file[d.severity == s]) - dirty)/(n - len(dirty - {""}))
    return rows, flagged('error'), flagged('warning')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--n', type=int, default=1000); p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2]); p.add_argument('--kinds', nargs='+', default=list(KINDS), choices=list(KINDS))
    p.add_argument('--out', default=Path(__file__).parent/'results'/'quality_faults.json', type=Path)
    a, runs = p.parse_args(), []
    for kind in a.kinds:
        for seed in a.seeds:
            with tempfile.TemporaryDirectory() as tmp:
                root = Path(tmp).resolve()/'set'
                t = time.perf_counter(); key = corpus(root, a.n, seed, kind); made = time.perf_counter() - t
                os.environ['CYTOKIT_CACHE'] = f'{tmp}/cache'  # nothing of an earlier run
                t = time.perf_counter(); found = findings(root); seconds = time.perf_counter() - t
                rows, errors, warned = judge(found, key, root, a.n)
            runs.append(dict(kind=kind, seed=seed, n=a.n, make_seconds=made, check_seconds=seconds, clean_errors=errors, clean_warnings=warned, faults=rows))
            print(f'\n{kind}, seed {seed}: {a.n} files made in {made:.1f} s, checked in {seconds:.1f} s ({a.n/seconds:.0f}/s); clean files with an error {errors:.2%}, with a warning {warned:.2%}')
            print(pd.DataFrame(rows).drop(columns='missed').round(3).to_string(index=False), flush=True)
    d = pd.DataFrame([dict(kind=r['kind'], **f) for r in runs for f in r['faults']])
    worst = d.groupby(['kind', 'fault'], sort=False)[['recall', 'precision']].min().unstack('kind').round(3)
    print('\nLowest of the seeds\n' + worst.to_string())
    write_json(a.out, dict(hits={k: sorted(v) for k, v in HITS.items()}, also={k: sorted(v) for k, v in ALSO.items()}, runs=runs))

if __name__ == '__main__': main()
