"What the metrics notebook cannot show about itself."
import subprocess, sys

def test_metrics_load_neither_torch_nor_sklearn():
    code = ('import sys, cytokit.metrics.classification\n'
            'print([m for m in ("torch", "fastai", "sklearn", "pandas") if m in sys.modules])')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True).stdout.strip() == '[]'
