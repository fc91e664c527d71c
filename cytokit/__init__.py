__version__ = "0.1.0"

import os, sys
if 'torch' not in sys.modules: os.environ.setdefault('OMP_WAIT_POLICY', 'passive')  # see the page Machine: threads that wait leave the core to others
