"Packages made missing: a process that reads this text first finds them as little as if they were not installed."
from pathlib import Path

CODE = '''
import sys

class Without:
    "A finder of modules that does not see some packages."
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {missing!r}: return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
'''

def hide_packages(folder, *names):
    "Let every Python whose PYTHONPATH begins with `folder` be without these packages."
    Path(folder, 'sitecustomize.py').write_text(CODE.format(missing=names), encoding='utf-8')
