"The command `cytokit`: each module adds its verbs, and all are there after this import."

from .command import app, captured, entry, main
from . import images, networks, segment, interpret, doctor, review, course, tune, distill, export, report, diary
