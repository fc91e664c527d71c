"""What Windows lacks is taken away, and files are held as Windows holds them: for processes of the tests.

It is no Windows: paths and programs are those of this system. What it shows is code that relies on Unix without asking.
"""
from cytokit_missing import CODE

# No such modules; standard modules that need them are imported first
MODULES = ('resource', 'fcntl', 'pwd', 'grp', 'termios')
# Without os.uname: numpy for Linux asks it
FUNCTIONS = ('fork', 'forkpty', 'killpg', 'getpgid', 'setsid', 'getuid', 'geteuid', 'getgid', 'sysconf',
             'sysconf_names', 'sched_getaffinity', 'getloadavg', 'posix_fallocate', 'mkfifo', 'chown', 'WIFSIGNALED')
SIGNALS = ('SIGALRM', 'SIGXCPU', 'SIGHUP', 'SIGUSR1', 'alarm', 'setitimer')

WINDOWS = '''
import asyncio, builtins, io, multiprocessing.util, os, shutil, signal, subprocess, sys, tempfile
import filelock, platformdirs  # have parts for each system, of which those for this one are taken
''' + CODE.format(missing=MODULES) + f'''
for name in {MODULES}: sys.modules.pop(name, None)
for name in {FUNCTIONS}: delattr(os, name)
for name in {SIGNALS}: delattr(signal, name)
''' + '''
real_open = open
def open_what_is_there(file, *args, **kwargs):
    "Linux tells about itself in /proc and /sys; threadpoolctl for Linux needs the list of libraries there."
    name = os.fspath(file) if isinstance(file, (str, os.PathLike)) else ''
    if name.startswith(('/proc/', '/sys/')) and name != '/proc/self/maps':
        raise FileNotFoundError(2, 'No such file', name)
    return real_open(file, *args, **kwargs)
io.open = builtins.open = open_what_is_there

def is_open(path):
    "Whether this process has the file, or one in the folder, open or mapped."
    real = os.path.realpath(os.fsdecode(path))
    with real_open('/proc/self/maps', encoding='utf-8') as maps:
        held = [line.split(maxsplit=5)[-1].strip() for line in maps]
    for number in os.listdir('/proc/self/fd'):
        try: held.append(os.readlink(f'/proc/self/fd/{number}'))
        except OSError: pass  # the listing itself
    return any(file == real or file.startswith(real + os.sep) for file in held)

def as_on_windows(change, must_be_closed):
    "A function of `os` that refuses what is open."
    def changed(*args, **kwargs):
        for path in [] if kwargs else args[:must_be_closed]:
            if isinstance(path, (str, bytes, os.PathLike)) and os.path.exists(path) and is_open(path):
                raise PermissionError(13, 'The process cannot access the file because it is being used', str(path))
        return change(*args, **kwargs)
    return changed

for name, must_be_closed in dict(replace=2, rename=2, remove=1, unlink=1, rmdir=1).items():
    setattr(os, name, as_on_windows(getattr(os, name), must_be_closed))
shutil._use_fd_functions = False  # folders are deleted file by file, by their names
'''
