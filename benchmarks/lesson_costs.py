"""What does each lesson cost? `python benchmarks/lesson_costs.py [LESSON …]`

Runs the lessons of nbs/lessons one after another, each once by `nbdev-test` in a process of its own with one thread,
under GNU time. Writes benchmarks/results/lesson_costs.json after each lesson. A lesson that is measured again replaces
its own row.
"""
import argparse, os, re, subprocess
from importlib import metadata
from pathlib import Path
from cytokit.core import read_json, write_json
from cytokit.hardware import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE/'results/lesson_costs.json'
LINES = dict(user='User time (seconds)', system='System time (seconds)', memory_kb='Maximum resident set size (kbytes)')

def in_seconds(clock):
    "Seconds of a time such as 1:02.50 or 1:00:00."
    seconds = 0.
    for part in clock.split(':'): seconds = 60*seconds + float(part)
    return seconds

def measure(path):
    "Run a lesson once: seconds by the clock, seconds of one core, most memory at a time in MB."
    command, env = ['/usr/bin/time', '-v', 'nbdev-test', str(path)], dict(os.environ, OMP_NUM_THREADS='1')
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, env=env)
    if done.returncode: raise SystemExit(f'{path} does not run:\n{done.stderr[-2000:]}')
    found = {name: float(re.search(rf'{re.escape(line)}: ([\d.]+)', done.stderr)[1]) for name, line in LINES.items()}
    clock = re.search(r'Elapsed .*\): ([\d:.]+)', done.stderr)[1]
    return dict(clock_seconds=round(in_seconds(clock), 1), core_seconds=round(found['user'] + found['system'], 1),
                memory_mb=round(found['memory_kb']*1024/1e6))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('lessons', nargs='*', type=Path, default=sorted((HERE.parent/'nbs/lessons').glob('*.ipynb')))
    a = p.parse_args()
    rows = read_json(RESULTS)['lessons'] if RESULTS.exists() else {}
    for path in a.lessons:
        load = round(os.getloadavg()[0], 1)
        rows[path.stem] = dict(measure(path), load_before=load)
        print(path.stem, rows[path.stem], flush=True)
        lessons = dict(sorted(rows.items()))
        write_json(RESULTS, dict(machine=machine(), torch=metadata.version('torch'), lessons=lessons))
