"""Pairs with planted faults of the mask, and how many of them `cytokit.quality.masks` finds; and the nuclei that people fixed by hand.

    .venv/bin/python benchmarks/masks.py --seeds 0 1 2            # planted, and the train split of the nuclei
    .venv/bin/python benchmarks/masks.py --seeds --split test     # only the nuclei that are held back

Planted into `make_cells` (256×256) and into real nuclei whose masks nobody had to mend. Seeds 100–102 are for tuning, 0–2 for judging."""
import argparse, os, tempfile, time
os.environ.setdefault('OMP_NUM_THREADS', '1'); os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image
from scipy import ndimage as ndi
from cytokit.core import parallel_map, rng, write_json
from cytokit.data.synthetic import make_cells

DATA = Path(__file__).resolve().parents[2]/'shared/data'
# Fault -> checks that count as a hit
HITS = dict(missing={'mask_missing'}, unreadable={'mask_unreadable'}, shape={'mask_shape'}, empty={'mask_empty'}, full={'mask_full'}, gaps={'mask_gaps'}, values={'mask_values'},
    interpolated={'mask_interpolated'}, semantic={'mask_semantic'}, pieces={'mask_disconnected'}, merged={'mask_merged'}, holes={'mask_holes'}, specks={'mask_fragments'}, leak={'mask_leak'},
    swapped={'mask_swapped'}, shifted={'mask_shifted'}, flipped={'mask_flipped'}, duplicated={'mask_duplicated'}, thin={'mask_contour_in'}, fat={'mask_contour_out'},
    low_contrast={'mask_low_contrast'}, lacking={'mask_objects_missing'}, foreground={'mask_foreground'})
# Fault -> checks that are true of it too and so are no false alarm
ALSO = dict(swapped={'mask_holes', 'mask_objects_missing', 'mask_leak', 'mask_low_contrast', 'mask_misfit', 'mask_shifted', 'mask_flipped', 'mask_foreground'}, duplicated={'mask_holes', 'mask_objects_missing', 'mask_leak', 'mask_low_contrast', 'mask_misfit', 'mask_swapped', 'mask_foreground'},
    shifted={'mask_holes', 'mask_objects_missing', 'mask_leak', 'mask_low_contrast', 'mask_misfit', 'mask_gaps', 'mask_disconnected', 'mask_fragments'}, flipped={'mask_holes', 'mask_objects_missing', 'mask_leak', 'mask_low_contrast', 'mask_misfit', 'mask_shifted', 'mask_swapped'},
    fat={'mask_holes', 'mask_leak', 'mask_foreground'}, thin={'mask_foreground', 'mask_objects_missing', 'mask_fragments', 'mask_disconnected'}, foreground={'mask_objects_missing', 'mask_contour_out', 'mask_leak', 'mask_low_contrast', 'mask_misfit', 'mask_holes', 'mask_merged'},
    interpolated={'mask_gaps', 'mask_disconnected', 'mask_fragments', 'mask_nested', 'mask_holes', 'mask_values'}, semantic={'mask_merged', 'mask_disconnected', 'mask_fragments', 'mask_holes'}, lacking={'mask_gaps', 'mask_foreground'},
    pieces={'mask_gaps', 'mask_merged'}, merged={'mask_gaps', 'mask_holes'}, empty={'mask_objects_missing', 'mask_foreground'}, full={'mask_foreground', 'mask_semantic', 'mask_merged'}, leak={'mask_merged', 'mask_disconnected', 'mask_low_contrast'},
    low_contrast={'mask_misfit', 'mask_leak', 'mask_merged'}, values={'mask_gaps'})

def _relabel(a): return np.unique(a, return_inverse=True)[1].reshape(a.shape).astype('u2')

def _touching(a):
    "Pairs of ids that share at least four sides."
    out = {}
    for p, q in ((a[1:], a[:-1]), (a[:, 1:], a[:, :-1])):
        m = (p != q) & (p > 0) & (q > 0)
        for k in zip(np.minimum(p[m], q[m]).tolist(), np.maximum(p[m], q[m]).tolist()): out[k] = out.get(k, 0) + 1
    return [k for k, n in out.items() if n >= 4]

def _whole(a, least=60):
    "Ids of some size that do not touch the frame."
    n = np.bincount(a.ravel()); rim = set(np.concatenate([a[0], a[-1], a[:, 0], a[:, -1]]).tolist())
    return [i for i in range(1, len(n)) if n[i] >= least and i not in rim]

def _grown(a, n):
    b = a
    for _ in range(n): b = np.where(b == 0, ndi.grey_dilation(b, footprint=ndi.generate_binary_structure(2, 1)), b)
    return b

def _shrunk(a, n):
    b = a.copy()
    for _ in range(n):
        p = np.pad(b, 1, mode='edge'); same = (p[:-2, 1:-1] == b) & (p[2:, 1:-1] == b) & (p[1:-1, :-2] == b) & (p[1:-1, 2:] == b)
        b = np.where(same, b, 0)
    return b

def plant(fault, img, a, r):
    "(image, mask) with the fault, or None where it cannot be had."
    a = a.astype('i4'); h, w = a.shape; ids = _whole(a); n = int(a.max()); rad = np.sqrt(np.median(np.bincount(a.ravel())[1:])/np.pi)
    free = ndi.distance_transform_cdt(np.pad(a == 0, 1), 'chessboard')[1:-1, 1:-1]
    disc = lambda y, x, q: (np.arange(h)[:, None] - y)**2 + (np.arange(w)[None] - x)**2 <= q*q
    some = lambda k: r.choice(ids, min(k, len(ids)), replace=False).tolist()
    if fault == 'shape': return img, a[:, :-int(r.integers(1, 20))]
    if fault == 'empty': return img, a*0
    if fault == 'full': return img, a*0 + 1
    if fault == 'gaps':
        if n < 4: return
        return img, np.concatenate([[0], np.sort(r.choice(np.arange(1, 5*n), n, replace=False))])[a]
    if fault == 'semantic': return (img, (a > 0)*(1 if r.random() < .5 else 255)) if len(ids) >= 5 else None
    if fault == 'interpolated': return (img, np.rint(ndi.zoom(ndi.zoom(a.astype(float), .5, order=1), (h/round(h*.5), w/round(w*.5)), order=1)[:h, :w]).astype('i4')) if n >= 5 else None
    if fault == 'pieces':
        if len(ids) < 6: return
        if r.random() < .5:
            p, q = some(2); b = a.copy(); b[a == q] = p  # one number for two objects
            return (img, _relabel(b)) if (p, q) not in _touching(a) and (q, p) not in _touching(a) else plant(fault, img, a, r)
        b = a.copy()
        for i in some(2):
            near = np.argwhere((free > 4) & (ndi.distance_transform_cdt(a != i, 'chessboard') < 25))
            if len(near): y, x = near[r.integers(len(near))]; b[y - 1:y + 2, x - 1:x + 3] = i
        return (img, b) if (b != a).any() else None
    if fault == 'merged':
        t = _touching(a)
        t = [t[i] for i in r.permutation(len(t))[:3]]; b = a.copy()
        t = [(p, q) for p, q in t if min((a == p).sum(), (a == q).sum()) > .25*np.pi*rad*rad]
        for p, q in t: b[b == b[a == q][0]] = b[a == p][0]
        return (img, _relabel(b)) if t else None
    if fault == 'holes':
        b = a.copy(); deep = ndi.distance_transform_cdt(np.pad(_shrunk(a, 1) > 0, 1), 'chessboard')[1:-1, 1:-1]
        for i in some(3):
            y, x = np.argwhere((a == i) & (deep >= .5*deep[a == i].max()))[0]; b[disc(y, x, min(r.uniform(.5, 2.5), deep[y, x] - 1)) & (a == i)] = 0
        return (img, b) if (b != a).any() else None
    if fault == 'specks':
        b, at = a.copy(), np.argwhere(free > 5)
        if len(at) < 50: return
        for k in range(int(r.integers(3, 8))):
            y, x = at[r.integers(len(at))]; b[y:y + int(r.integers(1, 3)), x:x + int(r.integers(1, 4))] = n + 1 + k
        return img, _relabel(b)
    if fault == 'leak':
        b = a.copy(); done = 0
        for i in r.permutation(ids).tolist():
            rim = np.argwhere((a == i) & (ndi.distance_transform_cdt(np.pad(a == i, 1), 'chessboard')[1:-1, 1:-1] == 1)); own = np.sqrt((a == i).sum()/np.pi)
            y, x = rim[r.integers(len(rim))]; blob = disc(y, x, own*r.uniform(.8, 1.1)) & (b == 0)
            if blob.sum() > .5*(a == i).sum(): b[blob] = i; done += 1
            if done == 2: break
        return (img, b) if done else None
    if fault == 'shifted':
        d, phi = r.uniform(4, 12), r.uniform(0, 2*np.pi)
        return img, np.rint(ndi.shift(a, (np.rint(d*np.sin(phi)), np.rint(d*np.cos(phi))), order=0)).astype('i4')
    if fault == 'flipped':
        k = int(r.integers(0, 5 if h == w else 3))
        return img, (a[::-1], a[:, ::-1], a[::-1, ::-1], np.rot90(a), a.T)[k]
    if fault == 'thin': return img, _relabel(_shrunk(a, 2))
    if fault == 'fat': return img, _grown(a, 2)
    if fault == 'lacking':
        if n < 6: return
        b = a.copy(); b[np.isin(a, r.choice(np.arange(1, n + 1), max(2, round(.3*n)), replace=False))] = 0
        return img, _relabel(b)
    if fault == 'foreground':
        if r.random() < .5: return img, _grown(a, 8)
        b = a.copy(); b[np.isin(a, r.choice(np.arange(1, n + 1), int(.9*n), replace=False))] = 0
        return (img, _relabel(b)) if n >= 10 else None
    if fault == 'low_contrast':
        if r.random() < .5:  # objects drawn where there is nothing
            b, k = a.copy(), 0
            for i in r.permutation(ids).tolist():
                s = ndi.find_objects((a == i).astype(int))[0]; m = (a == i)[s]; at = np.argwhere(ndi.minimum_filter(np.pad(b == 0, 1), (m.shape[0] + 8, m.shape[1] + 8))[1:-1, 1:-1])
                if not len(at): continue
                y, x = at[r.integers(len(at))]; y, x = y - m.shape[0]//2, x - m.shape[1]//2
                if y < 0 or x < 0 or y + m.shape[0] > h or x + m.shape[1] > w: continue
                v = b[y:y + m.shape[0], x:x + m.shape[1]]
                if (v[m] == 0).all(): v[m] = n + 1 + k; k += 1
                if k == 3: break
            return (img, b) if k == 3 else None
        f = img.astype(float); g = f if f.ndim == 2 else f.mean(-1)
        sig = np.abs(np.diff(g, axis=1)).std(); out = f.mean() + .06*(f - f.mean()) + r.normal(0, max(sig, 2)*.5, g.shape).reshape(h, w, *([1]*(f.ndim - 2)))
        return np.clip(np.rint(out), 0, np.iinfo(img.dtype).max).astype(img.dtype), a
    if fault == 'values': return img, (a > 0)*255
    if fault == 'stray_value': b = a.copy(); b[disc(*r.integers(20, min(h, w) - 20, 2), 2)] = 7; return img, b
    raise ValueError(fault)

def cell_pair(seed, i):
    "As `write_sample` makes them: plates differ in number, size, brightness, background and blur."
    q, r = rng(seed, 'plate', i//20), rng(seed, 'well', i)
    own = dict(n_cells=int(q.integers(24, 44)) + int(r.integers(-4, 5)), radius=q.uniform(8.5, 11), brightness=np.exp(q.normal(0, .3) + r.normal(0, .15)), background=q.uniform(.03, .15), blur=q.uniform(.6, 1.2),
               elongation=.2 + .35*(i % 2)*r.random(), overlap=r.uniform(.1, .25))
    return make_cells(f'{seed} {i}', size=256, **own)

def nuclei(split='train'):
    t = pd.read_csv(DATA/'nuclei/images.csv')
    return t[t.split == split].reset_index(drop=True)

def _read(path): return np.asarray(Image.open(path))

def pairs(source, seed, n, faults, each):
    "Yield (name, image, mask, fault); the faults first, clean after."
    r = rng(seed, 'pairs', source)
    if source == 'cells': get = lambda i: cell_pair(seed, i)
    else:
        t = nuclei(); t = t[~t.changed].id.to_numpy()[r.permutation((~t.changed).sum())]
        n = len(t)
        get = lambda i: (_read(DATA/f'nuclei/images/{t[i]}.png'), _read(DATA/f'nuclei/labels/{t[i]}.png'))
    items, todo = parallel_map(get, range(n)), r.permutation(n).tolist()
    used, out = set(), []
    sizes = [m.shape for _, m in items]
    for fault in faults:
        made = 0
        for i in todo:
            if made >= each: break
            if i in used: continue
            img, m = items[i]
            if fault in ('swapped', 'duplicated'):
                j = next((j for j in todo[::-1] if j not in used and j != i and sizes[j] == sizes[i] and items[j][0].shape == img.shape), None)
                if j is None: continue
                used |= {i, j}; made += 1
                out.append((i, img, items[j][1], fault))
                if fault == 'swapped': out.append((j, items[j][0], m, fault))
                else: out.append((j, *items[j], ''))
                continue
            p = (img, m) if fault in ('missing', 'unreadable') else plant(fault, img, m, rng(seed, fault, i))
            if p is None: continue
            used.add(i); made += 1
            out.append((i, *p, fault))
    return out + [(i, *items[i], '') for i in range(n) if i not in used]

def write(root, items):
    "Files, the table of pairs, and the key."
    (root/'images').mkdir(parents=True); (root/'masks').mkdir()
    def one(it):
        i, img, m, fault = it
        p, q = root/f'images/im{i:04d}.png', root/f'masks/im{i:04d}.png'
        Image.fromarray(img).save(p, compress_level=1)
        if fault != 'missing':
            Image.fromarray(np.asarray(m).astype('u1' if m.max() < 256 else 'u2')).save(q, compress_level=1)
            if fault == 'unreadable': q.write_bytes(q.read_bytes()[:100])
        return dict(image=str(p), mask=str(q), fault=fault)
    return pd.DataFrame(parallel_map(one, items)).sort_values('image', ignore_index=True)

def judge(found, key):
    "A row a fault: planted, found, recall, precision; and what is said of clean pairs."
    name = {**dict(zip(key['mask'], key.image)), **dict(zip(key.image, key.image))}
    d = found[found.file.isin(name)].assign(image=found.file.map(name)); fault = dict(zip(key.image, key.fault)); rows = []
    for f in HITS:
        k = set(key.image[key.fault == f])
        if not k: continue
        said = set(d.image[d.check.isin(HITS[f])])
        true = {g for g in HITS if HITS[g] & HITS[f] or ALSO.get(g, set()) & HITS[f]}
        wrong = [p for p in said if fault[p] not in true]
        clean = [p for p in said if not fault[p]]
        rows.append(dict(fault=f, planted=len(k), found=len(said & k), recall=len(said & k)/len(k), precision=len(said & k)/(len(said & k) + len(wrong)) if said & k or wrong else float('nan'), false=len(wrong), false_clean=len(clean),
                         any=len(k & set(d.image[d.severity != 'info']))/len(k), missed=sorted(Path(p).name for p in k - said)[:6], mistaken=pd.Series([fault[p] or 'clean' for p in wrong], dtype=object).value_counts().to_dict()))
    clean = set(key.image[key.fault == ''])
    share = lambda s: len(set(d.image[d.severity == s]) & clean)/len(clean)
    return rows, share('error'), share('warning'), d[d.image.isin(clean) & (d.severity != 'info')].check.value_counts().to_dict()

INSTANCE = [f for f in HITS if f != 'values']
BINARY = ['values', 'shape', 'empty', 'full', 'interpolated', 'holes', 'specks', 'shifted', 'flipped', 'swapped', 'duplicated', 'thin', 'fat', 'lacking', 'foreground']

def planted(source, seed, n, each):
    "Make a set, check it, judge it."
    from cytokit.quality.masks import check_masks
    faults = BINARY if source == 'binary' else [f for f in HITS if f != 'values']
    items = list(pairs('cells' if source == 'binary' else source, seed, n, faults, each))
    if source == 'binary': items = [(i, img, m if f == 'values' else np.asarray(m) if f == 'interpolated' else (np.asarray(m) > 0).astype('u2'), f) for i, img, m, f in items]
    with tempfile.TemporaryDirectory() as tmp:
        key = write(Path(tmp), items)
        t = time.perf_counter(); found = check_masks(key[['image', 'mask']]); seconds = time.perf_counter() - t
    rows, error, warning, checks = judge(found, key)
    return dict(source=source, seed=seed, pairs=len(key), clean=int((key.fault == '').sum()), kind=found.attrs['kind'], ms_a_pair=1e3*seconds/len(key), clean_error=error, clean_warning=warning, clean_checks=checks, faults=rows)

def fixed_by_people(split):
    "The nuclei with the masks as first published, and as fixed: what people changed against what is flagged as error or warning."
    from cytokit.quality.masks import check_masks
    t, out = nuclei(split), {}
    for which in ('original', 'fixed'):
        own = [DATA/f'nuclei/labels_original/{i}.png' for i in t.id]
        masks = [str(p if which == 'original' and p.exists() else DATA/f'nuclei/labels/{i}.png') for i, p in zip(t.id, own)]
        f = check_masks(pd.DataFrame(dict(image=[str(DATA/f'nuclei/images/{i}.png') for i in t.id], mask=masks)))
        f = f[f.severity != 'info'].assign(id=[Path(p).stem for p in f.file[f.severity != 'info']])
        changed, flagged = set(t.id[t.changed]), set(f.id)
        out[which] = dict(images=len(t), changed=len(changed), flagged=len(flagged), errors=int(f.id[f.severity == 'error'].nunique()), hit=len(flagged & changed), precision=len(flagged & changed)/max(len(flagged), 1), recall=len(flagged & changed)/len(changed),
                          share=len(flagged)/len(t), share_of_changed=len(flagged & changed)/len(changed), checks={c: [int(s.id.nunique()), len(set(s.id) & changed)] for c, s in f.groupby('check')})
    return dict(split=split, **out)

def clean_sets():
    "What is said of public sets that are taken to be in order."
    from cytokit.quality.masks import check_masks, mask_pairs
    sets = dict(wbc='wbc_segmentation/dataset1/images:wbc_segmentation/dataset1/masks', a549_train='cytounet_examples/a549_phase/train/images:cytounet_examples/a549_phase/train/masks',
        a549_validation='cytounet_examples/a549_phase/validation/images:cytounet_examples/a549_phase/validation/masks', embryo='cytounet_examples/bbbc003_embryo/images:cytounet_examples/bbbc003_embryo/masks',
        red_cells='cytounet_examples/bbbc009_rbc/images:cytounet_examples/bbbc009_rbc/outlines', cho='cytounet_examples/bbbc030_cho/images:cytounet_examples/bbbc030_cho/masks', cho_outlines='cytounet_examples/bbbc030_cho/images:cytounet_examples/bbbc030_cho/outlines',
        membrane='isbi_membrane/train/image:isbi_membrane/train/label', lesions='open_ms_lesions/FLAIR:open_ms_lesions/lesion')
    out = {}
    for name, where in {**sets, 'a549': f"{sets['a549_train']} {sets['a549_validation']}"}.items():
        p = pd.concat([mask_pairs(*(DATA/x for x in w.split(':'))) for w in where.split()], ignore_index=True)
        f = check_masks(p)
        out[name] = dict(pairs=len(p), kind=f.attrs['kind'], error=f.file[f.severity == 'error'].nunique()/len(p), warning=f.file[f.severity == 'warning'].nunique()/len(p),
                         checks={f'{s} {c}': int(n) for (s, c), n in f.groupby(['severity', 'check']).file.nunique().items()})
    return out

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', type=int, nargs='*', default=[0, 1, 2]); p.add_argument('--sources', nargs='*', default=['cells', 'binary', 'nuclei'], choices=['cells', 'binary', 'nuclei'])
    p.add_argument('--split', default='train', choices=['train', 'test'], help='of the nuclei; test is held back for the last judging'); p.add_argument('--n', type=int, default=500)
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results/masks.json')
    a = p.parse_args()
    runs = []
    for source in a.sources:
        for seed in a.seeds:
            r = planted(source, seed, a.n, 10 if source != 'nuclei' else 6); runs.append(r)
            print(f"\n{source}, seed {seed}: {r['pairs']} pairs ({r['kind']}), {r['ms_a_pair']:.1f} ms a pair; clean with an error {r['clean_error']:.2%}, with a warning {r['clean_warning']:.2%} {r['clean_checks']}")
            print(pd.DataFrame(r['faults']).drop(columns='missed').round(3).to_string(index=False), flush=True)
    totals = {}
    for source in a.sources if runs else ():
        d = pd.DataFrame([f for r in runs if r['source'] == source for f in r['faults']]).assign(said=lambda d: d.found + d.false)
        s = d.groupby('fault', sort=False)[['planted', 'found', 'false', 'false_clean']].sum()
        s['recall'], s['precision'] = s.found/s.planted, s.found/(s.found + s.false)
        totals[source] = s.reset_index().to_dict('records')
        print(f'\n{source}, all seeds\n' + s.round(3).to_string())
    out = dict(planted=runs, totals=totals)
    if (DATA/'nuclei').exists():
        out['fixed'] = fixed_by_people(a.split); print('\nnuclei', a.split); print(pd.DataFrame({k: out['fixed'][k] for k in ('original', 'fixed')}).to_string())
    if a.split == 'train' and DATA.exists():
        out['clean_sets'] = clean_sets(); print('\n' + pd.DataFrame(out['clean_sets']).T.to_string())
    write_json(a.out, out)

if __name__ == '__main__': main()
