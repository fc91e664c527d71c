"The decoded sets on disk, when things go wrong."
import os, signal
import pytest
from cytokit_process import cytokit, process

CODE = '''
import os, resource, signal, sys
from cytokit.training import loaders
from cytokit.data.datasets import read_table
from cytokit.data.preprocess import Preprocessing
data, way = sys.argv[1:]
if way == 'killed':
    load, seen = loaders.load, []
    def slowly(*args):
        seen.append(1)
        if len(seen) == 20: os.kill(os.getpid(), signal.SIGKILL)
        return load(*args)
    loaders.load = slowly
if way == 'full': resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
preprocessing = Preprocessing(size=32 if way == 'other' else 64, channels=3)
print(float(loaders.load_arrays(read_table(data), preprocessing).double().sum()))
'''

@pytest.fixture(scope='module')
def textures(tmp_path_factory):
    from cytokit.data.synthetic import write_sample
    return write_sample('textures', tmp_path_factory.mktemp('data')/'textures', n=40)

def run(textures, way, cache):
    return process(CODE, textures, way, env={**os.environ, 'CYTOKIT_CACHE': str(cache)})

def test_killed_while_it_builds(textures, tmp_path):
    assert run(textures, 'killed', tmp_path).returncode == -signal.SIGKILL
    left = list((tmp_path/'arrays').iterdir())
    assert [p.suffix for p in left] == ['.tmp']
    first = run(textures, '', tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == run(textures, '', tmp_path).stdout == run(textures, '', tmp_path/'other').stdout
    os.utime(left[0], (0, 0))  # a day later, the next set that is built clears it away
    run(textures, 'other', tmp_path)
    assert [p.suffix for p in (tmp_path/'arrays').iterdir()].count('.tmp') == 0

@pytest.mark.parametrize('cache', ['full', 'no folder'])
def test_without_room_the_set_stays_in_memory(textures, tmp_path, cache):
    where = tmp_path/'cache'
    if cache == 'no folder': where.write_text('a file where the cache should be')
    r = run(textures, cache, where)
    assert r.returncode == 0, r.stderr
    assert r.stdout == run(textures, '', tmp_path/'other').stdout
    if cache == 'full': assert list((where/'arrays').iterdir()) == []

def test_training_without_a_cache(textures, tmp_path):
    (tmp_path/'cache').write_text('a file where the cache should be')
    r = cytokit('train', textures, '--size', 32, '--epochs', 1, '--out', tmp_path/'run',
                env={**os.environ, 'CYTOKIT_CACHE': str(tmp_path/'cache')})
    assert r.returncode == 0 and r.stderr == '', r.stderr
