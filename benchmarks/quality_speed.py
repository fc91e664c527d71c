"""How fast is the check? `python benchmarks/quality_speed.py --cleanvision PYTHON --imagededup PYTHON [--n 5000]`

Each participant is a fresh process over one corpus of PNG files of 256×256 (benchmarks/quality_faults.py, 8 bits, its
broken files left out, as some peers stop at them); whole process, median of three, peaks of memory. PYTHON is the
interpreter of an environment that holds the peer: without both nothing is measured, since a table without the peers
says nothing. `pillow` and `read_image` only decode, in a process a core: what no check can be faster than.
Then the join of a million hashes, and a pair of image and mask. Writes benchmarks/results/quality_speed.json.
"""
import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image
from quality_faults import HITS, corpus

from cytokit.core import set_quiet, write_json
from cytokit.data.preprocess import find_images
from cytokit.data.synthetic import make_cells
from cytokit.quality.duplicates import candidate_pairs, compare_pairs, duplicates
from cytokit.quality.image_checks import image_findings
from cytokit.quality.images import measure_all
from cytokit.quality.masks import check_masks

HERE = Path(__file__).resolve().parent

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
    start, most = time.perf_counter(), 0
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    p = psutil.Popen([python, '-c', code, str(folder)], env=dict(os.environ, OMP_NUM_THREADS='1'), **quiet)
    while p.poll() is None:
        with contextlib.suppress(psutil.Error):
            most = max(most, sum(q.memory_full_info().pss for q in [p, *p.children(recursive=True)]))
        time.sleep(.1)
    if p.returncode: sys.exit(f'{python}: failed')
    return time.perf_counter() - start, most/2**20

def times(pythons, folder, repeats=3):
    "What each participant took, in turns; once before, so that files and libraries come from memory for all."
    for name, python in pythons.items(): run(python, CODE[name], folder)
    runs = {name: [] for name in pythons}
    for _ in range(repeats):
        for name, python in pythons.items(): runs[name].append(run(python, CODE[name], folder))
    return runs

def summary(runs, n):
    "Median seconds, images a second and the most memory of one participant."
    seconds = statistics.median(s for s, _ in runs)
    return dict(seconds=seconds, images_per_second=n/seconds, peak_mib=max(m for _, m in runs), runs=runs)

def parts(folder, n):
    "How fast images are measured, and how long they are judged, in this process."
    start = time.perf_counter()
    rows = measure_all(find_images(folder), keep=False)
    measured = time.perf_counter()
    image_findings(rows)
    duplicates(rows)
    return dict(measure_per_second=n/(measured - start), judge_seconds=time.perf_counter() - measured)

def join(n=1_000_000):
    "Seconds and GiB of finding and comparing the pairs of a million fingerprints."
    c = np.random.default_rng(0).standard_normal((n, 256), 'f4')
    start = time.perf_counter()
    i, j = candidate_pairs(c)
    compare_pairs(c, i, j)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20

def pair(n=1000):
    "Milliseconds of the check of one image and its mask."
    with tempfile.TemporaryDirectory() as tmp:
        rows = []
        for i in range(n):
            row = dict(image=f'{tmp}/i{i}.png', mask=f'{tmp}/m{i}.png')
            for file, pixels in zip(row.values(), make_cells(i, 256, n_cells=32)): Image.fromarray(pixels).save(file)
            rows.append(row)
        check_masks(pd.DataFrame(rows[:20]))  # libraries come from memory, as above
        start = time.perf_counter()
        check_masks(pd.DataFrame(rows))
        return (time.perf_counter() - start)/n*1e3

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--n', type=int, default=5000)
    p.add_argument('--cleanvision', required=True)
    p.add_argument('--imagededup', required=True)
    a = p.parse_args()
    set_quiet()
    pythons = dict.fromkeys(CODE, sys.executable) | dict(cleanvision=a.cleanvision, imagededup=a.imagededup)
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)/'set'
        corpus(folder, a.n, 0, 'png8', faults=tuple(f for f in HITS if f not in ('corrupt', 'depth')))
        n = sum(1 for _ in folder.rglob('*.png'))
        found = {name: summary(runs, n) for name, runs in times(pythons, folder).items()}
        found['cytokit'].update(parts(folder, n))
    seconds, gib = join()
    more = dict(join_million_seconds=seconds, join_million_gib=gib, pair_ms=pair())
    write_json(HERE/'results'/'quality_speed.json', dict(n=n, cores=os.cpu_count(), **found, **more))
    for name in pythons:
        r = found[name]
        print(f'{name:12} {r["seconds"]:7.2f} s  {r["images_per_second"]:6.0f} images/s  {r["peak_mib"]:6.0f} MiB')
    r = found['cytokit']
    print(f'cytokit: measured at {r["measure_per_second"]:.0f} images/s, judged in {r["judge_seconds"]:.2f} s; '
          f'a million hashes joined in {seconds:.1f} s ({gib:.1f} GiB); '
          f'a pair of image and mask {more["pair_ms"]:.1f} ms')

if __name__ == '__main__':
    main()
