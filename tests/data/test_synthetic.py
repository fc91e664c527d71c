"Samples are the same in every process, whatever its hash seed, and need no torch."
import os, subprocess, sys

CODE = '''
import hashlib, sys
from cytokit.data.synthetic import *
h = hashlib.sha256()
for k in TEXTURES + THINGS: h.update(make_texture(k, 1, 32).tobytes())
for a in make_cells(1): h.update(a.tobytes())
h.update(make_mri(1, 2, at=[8])[0].tobytes())
print(h.hexdigest(), 'torch' in sys.modules)
'''

def test_same_in_every_process():
    out = [subprocess.run([sys.executable, '-c', CODE], capture_output=True, text=True, check=True,
                          env={**os.environ, 'PYTHONHASHSEED': s}).stdout.split() for s in '01']
    assert out[0] == out[1] and out[0][1] == 'False'
