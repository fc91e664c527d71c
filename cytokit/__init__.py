"Teach, and do, deep learning on cell and medical images"

__version__ = "0.1.0"

import os, sys
# Threads that wait leave the core to others: see the page Machine.
if 'torch' not in sys.modules: os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

# The names that a person types stand in `__init__.pyi`; each is imported when it is first used.
import lazy_loader
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
