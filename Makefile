# Each target sets up what it needs from nothing (tools/bootstrap.py: .venv and the lock) and does nothing twice.
# PYTHON=/path/to/python3.11 chooses the interpreter, VENV=folder the environment, TORCH_INDEX=address a torch build.
.DEFAULT_GOAL := help
.PHONY: help setup book test lab serve bench weights results clean-notebooks costs set-repository release-exercises grade exercise-proofs

VENV ?= .venv
override VENV := $(abspath $(VENV))
export VENV TORCH_INDEX
BOOTSTRAP := $(if $(PYTHON),$(PYTHON),$(shell command -v python3 || command -v python3.11 || command -v python3.12 || command -v python3.13))
PY := $(VENV)/bin/python
PORT ?= 8000

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1 \t/' | expand -t 24

setup:  ## create .venv and install requirements.lock (every other target does this first)
	@command -v "$(BOOTSTRAP)" >/dev/null || { echo "error: no Python here ($(or $(PYTHON),python3)); install Python 3.11 or newer, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@PYTHON="$(PYTHON)" "$(BOOTSTRAP)" tools/bootstrap.py

book: setup  ## execute every chapter on the CPU and write _build/html/index.html
	@$(PY) -m tools.build_book

test: setup  ## lint, unit, parity, doctests, notebooks, strict book build, browser tests; one summary
	@$(PY) -m tools.run_tests

lab: setup  ## open the chapters in JupyterLab
	@$(PY) -m jupyterlab notebooks

serve: book  ## build the book, then serve it on http://localhost:8000 (PORT=...)
	@echo "the book: http://localhost:$(PORT)/ (stop with Ctrl-C)"; \
	$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

bench: setup  ## time ours against the reference libraries: case, ours_ms, peer_ms, ratio
	@$(PY) -m tests.benchmarks

weights: setup  ## train the shipped weights that are missing (FORCE=1: all, hours on a CPU)
	@$(PY) -m tools.run_scripts weights $(if $(FORCE),--force)

results: setup  ## recompute the figures that need several seeds or long runs (tools/results)
	@$(PY) -m tools.run_scripts results $(if $(FORCE),--force)

clean-notebooks: setup  ## strip outputs and normalise; compared outputs come from one clean run
	@$(PY) -m tools.clean_notebooks --execute

costs: setup  ## measure every chapter and write its cost box (CHAPTER=16 for one)
	@$(PY) -m tools.costs $(CHAPTER)

set-repository: setup  ## move badges and setup cells to another address: URL=https://github.com/you/book
	@$(PY) -m tools.set_repository --url "$(URL)" --write

release-exercises: setup  ## write the student versions (SEED=2027 COURSE=folder ASSIGNMENT=slug COLAB=owner/repo/blob/branch/folder)
	@$(PY) -m tools.exercises.release $(ASSIGNMENT) $(if $(SEED),--seed "$(SEED)") $(if $(COURSE),--course "$(COURSE)") $(if $(COLAB),--colab "$(COLAB)")

grade: setup  ## grade submissions: ASSIGNMENT=slug FROM=folder-or-zip (DUE=ISO time, COURSE=folder, ROSTER=csv, MARKS=csv, FORCE=1)
	@$(PY) -m tools.exercises.grade "$(ASSIGNMENT)" "$(FROM)" $(if $(DUE),--due "$(DUE)") $(if $(COURSE),--course "$(COURSE)") $(if $(ROSTER),--roster "$(ROSTER)") $(if $(MARKS),--marks "$(MARKS)") $(if $(filter-out 0,$(FORCE)),--force)

exercise-proofs: setup  ## prove the graders: right and wrong answers, mutants (ASSIGNMENT=slug for one)
	@$(PY) -m tools.exercises.proofs $(ASSIGNMENT) --jobs 2
