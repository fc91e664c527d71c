"What a person turns and answers: `from cytokit.teaching import ask_prediction, check_answer, explore`."

from .widgets import ask_prediction, explore, recall, show_prediction
from .exercises import QUESTIONS, Question, check_answer, hint, practise, solution, twin
from . import questions  # the questions of the lessons: all are there after this import
