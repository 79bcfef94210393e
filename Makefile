# make quickstart | test | check | setup | docs | bench. Each installs what it needs first; quickstart needs least.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Files of tests run in this many processes at a time; many tests start processes themselves. Each
# has one thread: the models of tests are tiny, and threads would wait for each other.
TEST_PROCESSES ?= 2
BASE := $(VENV)/.base-up-to-date
DEV := $(VENV)/.dev-up-to-date
BENCH := $(VENV)/.bench-up-to-date
DOCS := $(VENV)/.docs-up-to-date

.PHONY: setup quickstart test test-all check format docs bench clean

setup: $(DEV)

# Made again when the dependencies or their pins change. Everything is compiled afterwards, on all
# cores, because pip compiles on one.
define install
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --no-compile -c constraints.txt -e "$(1)"
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true  # packages have templates
endef

$(BASE): pyproject.toml constraints.txt Makefile | $(BIN)/python
	$(call install,.[explorer])
	@touch $@

$(DEV): pyproject.toml constraints.txt Makefile | $(BIN)/python
	$(call install,.[dev])
	@touch $(BASE) $(DOCS) $@

$(BENCH): pyproject.toml constraints.txt Makefile | $(BIN)/python
	$(call install,.[bench])
	@touch $(BASE) $@

$(DOCS): pyproject.toml constraints.txt Makefile | $(BIN)/python
	$(call install,.[docs])
	@touch $(BASE) $@

$(BIN)/python:
	@sh .ci/suitable-python "$(PYTHON)" $(MAKECMDGOALS)
	$(PYTHON) -m venv $(VENV)

quickstart: $(BASE)
	$(BIN)/python train.py experiment=speedrun_tiny

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-all: $(DEV)
	$(BIN)/python -m pytest

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site of the documentation, in site/: open site/index.html. A broken link ends the build.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

# make bench [quick=1] [only=NAME,...] [realdata=FOLDER] [nanogpt=FOLDER] [datatrove=PYTHON]
bench: $(BENCH)
	$(BIN)/python -m benchmarks.run_all $(if $(quick),--quick) $(foreach \
	  option,only realdata nanogpt datatrove,$(if $($(option)),--$(option) $($(option))))

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache
