# Needs Python 3.11 to 3.14 and make; everything else is installed into .venv from requirements.lock.
# ARGS go to the program behind a target: make test ARGS="-k replay".

# JupyterLab's kernels and terminals inherit this.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PYTHON := .venv/bin/python
INSTALLED := .venv/installed
JUPYTER := $(CURDIR)/tools/jupyter
# Where the machine has one, students hand in by a menu; one that is elsewhere: make lab EXCHANGE=1.
EXCHANGE := $(wildcard /usr/local/share/nbgrader/exchange)
FOR_STUDENTS := $(if $(EXCHANGE),$(JUPYTER)/exchange:)$(JUPYTER)/students:

# What make tells programs of itself: in a terminal of JupyterLab, `make test` is a make of its own.
MAKE_VARIABLES := ARGS INSTRUCTOR EXCHANGE MAKEFLAGS MAKELEVEL MAKEOVERRIDES MFLAGS

.DEFAULT_GOAL := help
.PHONY: help .venv lab demo test long-test grade report lessons new-lesson bundle images docs bench lock clean

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z.][a-z.-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' \
	  $(MAKEFILE_LIST)

.venv: $(INSTALLED) ## install what the kit needs (the other targets do so by themselves)

# Done again when the lock changes. The stamp comes last: what was interrupted is resumed.
$(INSTALLED): requirements.lock requirements.hashes pyproject.toml
	@tools/install.sh
	@touch $@

lab: $(INSTALLED) ## open the lessons in JupyterLab; INSTRUCTOR=1 shows solutions and nbgrader's menus too
	@JUPYTER_CONFIG_PATH="$(if $(INSTRUCTOR),,$(FOR_STUDENTS))$(JUPYTER):$$JUPYTER_CONFIG_PATH" \
	  env $(MAKE_VARIABLES:%=-u %) jupyter lab --ServerApp.root_dir=. \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

demo: $(INSTALLED) ## watch a policy learn in the terminal, in under a minute
	@$(PYTHON) tools/demo.py $(ARGS)

# Each file as a whole in one of four processes, in the files' order: by their numbers of tests, as xdist
# has it, the slow ones come last, and the others wait. Four, also on two cores, as a test waits for its
# servers now and then. The slow ones are for CI, and for whoever names their file.
test: $(INSTALLED) ## run the tests; ALL=1 has the slow ones too, as CI does
	@$(PYTHON) -m pytest -rs --numprocesses=4 --dist=loadfile --no-loadscope-reorder \
	  $(if $(ALL)$(findstring tests/,$(ARGS)),,-m "not slow") $(ARGS)

long-test: $(INSTALLED) ## the long form: 30 autogrades a lesson, all mutants to the end, 20 kills (half a night)
	@AUTOGRADES=30 RESTARTS=20 JOURNEYS=all SEQUENCES=5000 LONG_SUPERVISION=1 CASES=20000 \
	  PYTHONS=all LONG_TEST=1 EMPTY_ROOT=1 \
	  $(PYTHON) -m pytest -s --timeout=0 tests/lessons/test_lessons.py tests/journeys tests/examiner tests/exercises \
	  tests/server/test_restarts.py tests/server/test_interleavings.py \
	  tests/server/test_supervision.py tests/server/test_endurance.py tests/web/test_descriptions.py tests/test_wheel.py \
	  tests/test_empty_root.py tests/tools/test_student_bundle.py $(ARGS)

grade: $(INSTALLED) ## autograde all that was handed in: make grade LESSON=01-serve-and-learn
	@$(PYTHON) tools/grade.py $(LESSON) $(ARGS)

report: $(INSTALLED) ## a page on how the class did: make report LESSON=01-serve-and-learn
	@$(PYTHON) tools/report.py $(LESSON) $(ARGS)

lessons: $(INSTALLED) ## generate lessons/ from solutions/
	@$(PYTHON) tools/make_lessons.py $(ARGS)

new-lesson: $(INSTALLED) ## a lesson from a template, which works at once: make new-lesson NAME=06-discount
	@$(PYTHON) tools/new_lesson.py $(NAME) && $(PYTHON) tools/make_lessons.py

bundle: $(INSTALLED) ## write what students get, without answers: build/online-learning/ and its archive
	@$(PYTHON) tools/student_bundle.py $(ARGS)

images: $(INSTALLED) ## draw the pictures of the lessons
	@$(PYTHON) tools/make_images.py $(ARGS)

docs: $(INSTALLED) ## write the reference, from the docstrings: build/docs/index.html
	@$(PYTHON) tools/make_docs.py $(ARGS)

bench: $(INSTALLED) ## measure start, learning, throughput and latency; options: ARGS=--help
	@$(PYTHON) -m tools.bench $(ARGS)

lock: $(INSTALLED) ## write requirements.lock, its hashes and environment.yml from what is installed
	@$(PYTHON) tools/make_lock.py

clean: ## remove .venv, and what tests and tools leave behind
	rm -rf .venv build .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
