# make demo, make test: each sets everything up first. Python 3.10 or newer, make, and the package index are all they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN = .venv/bin
BROWSER := $(shell for b in chromium chromium-browser google-chrome; do command -v $$b; done; true)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Bytecode is kept, even where an image of a container says no: hundreds of processes of the tests import the same modules.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test quick fuzz lab lessons course seeds slides lock newest clean

# Where there is no NVIDIA GPU, PyTorch for the CPU: .ci/install_lock.py says when.
setup: .venv/ready

.venv/ready: requirements.lock settings.ini setup.py pyproject.toml .ci/install_lock.py
	$(PYTHON) -m venv .venv
	$(BIN)/python .ci/install_lock.py requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	-git config diff.jupytext.textconv "$(CURDIR)/$(BIN)/jupytext --to py:percent --output -" 2>/dev/null
	touch $@

demo: setup
	rm -rf demo
	cytokit sample mri demo/mri --n 400
	cytokit check demo/mri --html demo/check.html
	cytokit compare demo/mri --size 48 --epochs 6 --seeds 2 --valid 0.5 --out demo/comparison-mri
	cytokit sample textures demo/textures --n 320
	cytokit compare demo/textures --size 48 --epochs 6 --seeds 2 --valid 0.5 --out demo/comparison-textures
	cytokit train demo/mri --method small --size 48 --epochs 8 --out demo/run
	cytokit predict demo/run demo/mri/control --csv demo/predictions.csv
	cytokit sample cells demo/cells --n 60 --set masks=true --set per_plate=2 --set overlap=0.3
	cytokit segment train demo/cells --preset tiny --patch 96 --epochs 20 --out demo/unet
	@echo "Look at this page:"
	@python -m cytokit.sharing.tour demo
	@echo "Next: make lab"

# Three processes for two cores, since a browser, a kernel or a server is often waited for. A file of tests is run by one
# process, so that what it prepares is made once; the long ones begin (tests/conftest.py).
THREE = -n 3 --dist loadfile --no-loadscope-reorder

# With a browser the lessons run in it, by pytest, and need not run twice; nor the index, whose code is the README's.
test: setup
	ruff check
	OMP_NUM_THREADS=1 nbdev-test --n-workers 3 --timing --skip-file-re '^index' --skip-folder-re '^($(if $(BROWSER),lessons|)[_.])'
	OMP_NUM_THREADS=1 pytest $(THREE) --durations=15

# The daily loop: notebooks that changed since BASE (where the branch left main; on main the last commit), and the tests
# of their wings. The docs, the wheel, long trainings and the lessons in a browser are for `make test`.
BASE ?= $(shell git merge-base HEAD main 2>/dev/null || echo HEAD)
CHANGED = $(shell git diff --name-only --diff-filter=d $(BASE); git ls-files --others --exclude-standard)
NOTEBOOKS = $(filter nbs/%.ipynb,$(CHANGED))
WINGS = $(sort $(foreach notebook,$(NOTEBOOKS),$(word 2,$(subst /, ,$(notebook)))))
space := $(subst ,, )

quick: setup
	ruff check
	$(if $(NOTEBOOKS),OMP_NUM_THREADS=1 nbdev-test --n-workers 2 --timing --path-re '/($(subst $(space),|,$(strip $(NOTEBOOKS))))$$')
	OMP_NUM_THREADS=1 pytest $(THREE) -m 'not whole' tests/test_project.py $(wildcard $(WINGS:%=tests/%))

# Corrupted files for ten minutes, other ones each time; what breaks a parser is printed with the way to repeat it.
fuzz: setup
	CYTOKIT_FUZZ_SECONDS=600 OMP_NUM_THREADS=1 pytest tests/test_fuzz.py -x -q

lab: lessons
	jupyter lab --LabApp.default_url=/lab/tree/lessons

# The student's edition of each lesson. A lesson that is there already is somebody's work and stays as it is.
lessons: .venv/etc/ipython/startup/50-cytokit.py
	@cytokit lessons lessons

# Read by each kernel when it starts: a cell that is run too early is told which one comes first.
.venv/etc/ipython/startup/50-cytokit.py: | setup
	@mkdir -p $(@D) && echo "__import__('cytokit.teaching.widgets')" > $@

# Both editions of the course and otter's autograders; then both are graded, with all marks and with none (a quarter of an hour).
course: setup
	OMP_NUM_THREADS=1 cytokit course course

# Lessons with other seeds and two threads: do their solutions still hold? Some minutes.
seeds: setup
	CYTOKIT_SEEDS="1 2" pytest tests/teaching/test_seeds.py

# Slides of the lessons. In a browser, with network: they take reveal.js from the web.
SLIDES ?= slides
LESSON ?= nbs/lessons/*.ipynb

slides: setup
	jupyter nbconvert --log-level=WARN --to slides --SlidesExporter.reveal_scroll=True --TagRemovePreprocessor.enabled=True \
	  --TagRemovePreprocessor.remove_input_tags=figure-code --output-dir $(abspath $(SLIDES)) $(LESSON)

# The lock file from what settings.ini asks for, newest versions that run on this Python (best the oldest 3.11, PYTHON=/usr/bin/python3.11 on Debian 12); then run the tests.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet "setuptools>=77" ".[dev]" "torch==2.15.0" "torchvision==0.29.2"
	.venv-lock/bin/pip freeze --all --exclude pip --exclude cytokit-nb | sed -E '/^(nvidia-|triton|cuda)/s/$$/ ; sys_platform == "linux"/' > requirements.lock
	rm -rf .venv-lock

# Does it still work with the newest of everything?
newest:
	rm -rf .venv-newest && $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --upgrade "setuptools>=77" -e ".[dev]"
	PATH="$(CURDIR)/.venv-newest/bin:$$PATH" nbdev-test --n-workers 2
	.venv-newest/bin/pytest

clean:
	rm -rf demo _proc _docs build dist *.egg-info .pytest_cache
