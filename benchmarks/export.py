"""What an export costs and how close it comes: `python benchmarks/export.py [--quick]`

A model of each kind is trained for an epoch or a few on real images (../shared/data: white blood cells, nuclei;
synthetic ones without it), exported, and timed in onnxruntime and in cytokit on the same images, with one thread each.
Writes benchmarks/results/export.json: kind, size, seconds, largest difference, ms an image of both, ratio (5 rounds;
one image a call: cytokit folds its batch norms anew in each call, which it does once for a folder of images).
"""
import argparse, json, tempfile, time
from pathlib import Path
import numpy as np, onnxruntime, torch
from cytokit.core import write_json
from cytokit.data.datasets import read_table
from cytokit.data.pairs import pairs
from cytokit.data.preprocess import Image, Preprocessing, to_channels
from cytokit.data.synthetic import write_sample
from cytokit.segmentation.pipeline import segment
from cytokit.sharing.export import export
from cytokit.sharing.trained import raw_pixels, read_trained
from cytokit.training.fit import train

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1]/'shared'/'data'

def cells(home):
    "White blood cells with their classes, or synthetic textures."
    if not SHARED.exists(): return read_table(write_sample('textures', home/'textures', n=120))
    table = read_table(SHARED/'wbc_segmentation'/'labels.csv', image='file', target='class')
    return table[table['target'] != 'basophil'].reset_index(drop=True)

def nuclei(home, n=48):
    "Nuclei with their masks, or synthetic cells."
    if not SHARED.exists(): return pairs(write_sample('cells', home/'cells', n=n, masks=True, size=96))
    return pairs(SHARED/'nuclei').iloc[:n].reset_index(drop=True)

def rounds(f, items, n=5):
    "Median ms an item over some rounds."
    times = []
    for _ in range(n):
        begun = time.perf_counter()
        for item in items: f(item)
        times.append((time.perf_counter() - begun)/len(items)*1e3)
    return float(np.median(times))

def timed(folder):
    "ms an image of onnxruntime and of cytokit (float32), from pixels in memory to the answer."
    trained = read_trained(folder)
    trained.model.precision = 'float32'
    images = [Image(raw_pixels(f, trained.preprocessing), 'YXC') for f in trained.held_out(4)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder/'export_onnx'/'model.onnx'), options)
    channels = session.get_inputs()[0].shape[3]
    raw = [to_channels(im.array, channels)[None].astype('f4') for im in images]
    torch.set_num_threads(1)
    other, own = rounds(lambda a: session.run(None, {'image': a}), raw), rounds(trained.answer, images)
    return dict(onnxruntime_ms=other, cytokit_ms=own, ratio=own/other)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--quick', action='store_true')
    a = p.parse_args()
    home, rows = Path(tempfile.mkdtemp()), []
    table, masks = cells(home), nuclei(home)
    quick = dict(epochs=1 if a.quick else 4, lr=.003)
    middle = Preprocessing(size=64)
    runs = dict(small=lambda out: train(table, out=out, preprocessing=middle, **quick),
                lite0=lambda out: train(table, 'frozen', out, Preprocessing(size=96), weights='imagenet',
                                        augment='none', **quick),
                textures=lambda out: train(table, 'frozen', out, middle, weights='textures', **quick),
                unet_tiny=lambda out: segment(masks, out=out, preset='tiny', epochs=quick['epochs'], steps=8),
                unet_encoder=lambda out: segment(masks, out=out, epochs=quick['epochs'], steps=8))
    for name, make in runs.items():
        make(home/name)
        formats = ('onnx', 'safetensors') + (('bioimageio',) if 'unet' in name else ())
        for to in formats:
            cpu = time.process_time()
            found = export(home/name, to)
            row = dict(kind=name, to=to, parameters=found.parameters, megabytes=found.megabytes, seconds=found.seconds,
                       cpu_seconds=time.process_time() - cpu, difference=found.difference, output=found.output,
                       n_images=found.n_images, bfloat16_difference=found.own_difference)
            if to == 'onnx': row |= timed(home/name)
            rows.append(row)
            print(json.dumps(row), flush=True)
    write_json(HERE/'results'/'export.json', dict(machine=torch.__version__, threads=1, models=rows))
