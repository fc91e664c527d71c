"""How fast is the check? `python benchmarks/quality_speed.py [--n 5000] [--cleanvision PYTHON] [--imagededup PYTHON]`

Each participant is a fresh process over one corpus of PNG files of 256×256 (benchmarks/quality_faults.py, 8 bits, its broken files left out, as some peers
stop at them); whole process, median of three, peaks of memory. PYTHON is the interpreter of an environment that holds the peer. `pillow` and `read_image`
only decode, in a process a core: what no check can be faster than.
Then the join of a million hashes, and a pair of image and mask. Writes benchmarks/results/quality_speed.json.
"""
import argparse, contextlib, os, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, psutil
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

READ = '''
import sys
from multiprocessing import Pool
from cytokit.data.preprocess import find_images
{0}
with Pool() as p: print(sum(p.imap_unordered(read, find_images(sys.argv[1]), 64)))'''

CODE = dict(
    pillow=READ.format('''
import numpy as np
from PIL import Image
def read(f): return np.asarray(Image.open(f)).size > 0'''),
    read_image=READ.format('''
from cytokit.data.formats import read_image
def read(f): return read_image(f).array.size > 0'''),
    cytokit='''
import sys
from cytokit.data.preprocess import find_images
from cytokit.quality.duplicates import duplicate_findings, duplicates
from cytokit.quality.image_checks import image_findings
from cytokit.quality.images import measure_all
rows = measure_all(find_images(sys.argv[1]), keep=False)
d = duplicate_findings(duplicates(rows)); f = image_findings(rows)
print(len(rows), len(d), len(f))''',
    cleanvision='''
import sys
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1]); lab.find_issues(n_jobs=1)
print(len(lab.issues))''',
    imagededup='''
import sys, glob
from imagededup.methods import PHash
h = PHash(); e = h.encode_images(image_dir=sys.argv[1], recursive=True); h.find_duplicates(encoding_map=e)
print(len(e))''')

def run(python, code, folder):
    "Seconds and MiB (most pages at one time, shared ones counted once) of one process and its children."
    t, most = time.perf_counter(), 0
    p = psutil.Popen([python, '-c', code, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, OMP_NUM_THREADS='1'))
    while p.poll() is None:
        with contextlib.suppress(psutil.Error): most = max(most, sum(q.memory_full_info().pss for q in [p, *p.children(recursive=True)]))
        time.sleep(.1)
    if p.returncode: sys.exit(f'{python}: failed')
    return time.perf_counter() - t, most/2**20

def join(n=1_000_000):
    from cytokit.quality.duplicates import candidate_pairs, compare_pairs
    c = np.random.default_rng(0).standard_normal((n, 256), 'f4')
    t = time.perf_counter()
    i, j = candidate_pairs(c)
    d, _, _ = compare_pairs(c, i, j)
    return time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20

def pair(n=1000):
    from PIL import Image
    from cytokit.quality.masks import check_masks
    import pandas as pd
    from cytokit.data.synthetic import make_cells
    with tempfile.TemporaryDirectory() as tmp:
        rows = []
        for i in range(n):
            a, m = make_cells(i, 256, n_cells=32)
            for k, x in (('i', a), ('m', m)): Image.fromarray(x).save(f'{tmp}/{k}{i}.png')
            rows.append(dict(image=f'{tmp}/i{i}.png', mask=f'{tmp}/m{i}.png'))
        check_masks(pd.DataFrame(rows[:20]))  # libraries come from memory, as above
        t = time.perf_counter()
        check_masks(pd.DataFrame(rows))
        return (time.perf_counter() - t)/n*1e3

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--n', type=int, default=5000); p.add_argument('--cleanvision'); p.add_argument('--imagededup')
    a = p.parse_args()
    from quality_faults import HITS, corpus
    from cytokit.core import set_quiet, write_json
    set_quiet()
    python, out = dict.fromkeys(CODE, sys.executable) | dict(cleanvision=a.cleanvision, imagededup=a.imagededup), {}
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)/'set'
        corpus(folder, a.n, 0, 'png8', faults=tuple(f for f in HITS if f not in ('corrupt', 'depth')))
        n = sum(1 for _ in folder.rglob('*.png'))
        for k in [k for k in CODE if python[k]]: run(python[k], CODE[k], folder)  # files and libraries come from memory for all
        for _ in range(3):
            for k in [k for k in CODE if python[k]]: out.setdefault(k, []).append(run(python[k], CODE[k], folder))
        res = {k: dict(seconds=statistics.median(s for s, _ in v), images_per_second=n/statistics.median(s for s, _ in v), peak_mib=max(m for _, m in v), runs=v) for k, v in out.items()}
        from cytokit.data.preprocess import find_images
        from cytokit.quality.duplicates import duplicates
        from cytokit.quality.image_checks import image_findings
        from cytokit.quality.images import measure_all
        t = time.perf_counter(); rows = measure_all(find_images(folder), keep=False); res['cytokit']['measure_per_second'] = n/(time.perf_counter() - t)
        t = time.perf_counter(); image_findings(rows); duplicates(rows); res['cytokit']['judge_seconds'] = time.perf_counter() - t
    res['join_million_seconds'], res['join_million_gib'] = join()
    res['pair_ms'] = pair()
    write_json(HERE/'results'/'quality_speed.json', dict(n=n, cores=os.cpu_count(), **res))
    for k in out: print(f'{k:12} {res[k]["seconds"]:7.2f} s  {res[k]["images_per_second"]:6.0f} images/s  {res[k]["peak_mib"]:6.0f} MiB')
    print(f'cytokit: measured at {res["cytokit"]["measure_per_second"]:.0f} images/s, judged in {res["cytokit"]["judge_seconds"]:.2f} s; a million hashes joined in {res["join_million_seconds"]:.1f} s ({res["join_million_gib"]:.1f} GiB); a pair of image and mask {res["pair_ms"]:.1f} ms')
