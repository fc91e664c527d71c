# The names at the top: `from cytokit import check, compare`. This is their only list: `__init__.py` reads it when it is
# imported, editors and type checkers as it stands. `name as name` says that a name is meant for others (PEP 484).
from .core import set_quiet as set_quiet
from .data.formats import read_image as read_image
from .data.preprocess import Preprocessing as Preprocessing
from .data.synthetic import write_sample as write_sample
from .data.datasets import apply_plan as apply_plan
from .data.catalogue import fetch as fetch
from .data.datasets import read_table as read_table
from .data.datasets import split_table as split_table
from .data.pairs import pairs as pairs
from .quality.check import check as check
from .quality.corrupt import corrupt_dataset as corrupt_dataset
from .metrics.classification import balanced_accuracy as balanced_accuracy
from .metrics.segmentation import dice as dice
from .metrics.segmentation import score_objects as score_objects
from .sharing.diary import diary as diary
from .sharing.diary import write_note as write_note
from .sharing.project_card import plan as plan
from .training.lr_finder import find_lr as find_lr
from .training.fit import Run as Run
from .training.fit import Settings as Settings
from .training.fit import find_rate as find_rate
from .training.runs import rerun as rerun
from .training.runs import resume as resume
from .training.fit import train as train
from .training.tuning import tune as tune
from .training.distill import distill as distill
from .segmentation.pipeline import Segmentation as Segmentation
from .segmentation.pipeline import segment as segment
from .evaluation.compare import Comparison as Comparison
from .evaluation.compare import compare as compare
from .evaluation.interpret import interpret as interpret
from .evaluation.robustness import severity_curve as severity_curve
from .evaluation.doctor import doctor as doctor
from .evaluation.watch import watch as watch
from .sharing.export import export as export
from .sharing.regress import regress as regress
from .sharing.diff import diff as diff
from .sharing.report import report as report

__version__: str
