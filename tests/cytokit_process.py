"""Code in a process of its own, forked from a server that has imported the training already: 3 seconds less a process.

It lives and dies like a process that `python -c` has started. OMP_NUM_THREADS is heeded as torch heeds it when
it is loaded; what else is read then is that of the tests: a test of such things starts an interpreter itself.
"""
import multiprocessing, os, subprocess, sys, tempfile
from pathlib import Path

SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['cytokit.evaluation.compare', 'cytokit.segmentation.pipeline', 'cytokit.cli'])
COMMAND = 'from cytokit.cli import entry; entry()'

def _begin(code, args, cwd, env, output):
    "Inside the new process: what `python -c` would find."
    for number, name in ((1, 'out'), (2, 'err')):
        os.dup2(os.open(f'{output}/{name}', os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = ['-c', *args]
    if 'OMP_NUM_THREADS' in env: sys.modules['torch'].set_num_threads(int(env['OMP_NUM_THREADS']))
    exec(compile(code, '<string>', 'exec'), {'__name__': '__main__'})

def start(code, *args, cwd='.', env=None, output):
    "A process that has just begun; what it prints goes to the files `out` and `err` of the folder `output`."
    env = dict(os.environ) if env is None else env
    p = SERVER.Process(target=_begin, args=(code, [str(arg) for arg in args], str(cwd), env, str(output)))
    p.start()
    return p

def process(code, *args, **where):
    "Run code to its end; its exit status (minus the signal that ended it), and what it printed."
    with tempfile.TemporaryDirectory() as output:
        p = start(code, *args, **where, output=output)
        p.join()
        printed = [Path(output, name).read_text() for name in ('out', 'err')]
    return subprocess.CompletedProcess(args, p.exitcode, *printed)

def cytokit(*args, **where):
    "The command, in the same way."
    return process(COMMAND, *args, **where)
