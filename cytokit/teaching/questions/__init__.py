"The questions of the lessons, a module a lesson; this import gathers them all."

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__): import_module(f'{__name__}.{module.name}')
