__version__ = "0.1.0"

import os, sys
# Threads that wait leave the core to others: see the page Machine
if 'torch' not in sys.modules: os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
