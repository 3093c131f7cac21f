# Everything that a newcomer needs: `make demo`, `make test`, `make check`.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: install demo test test-slow check format docs clean

install: $(STAMP)

# The stamp is as new as the files that say what to install, so a second call does nothing.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dimscope needs Python 3.11 or newer; try: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: install
	$(BIN)/dimscope reproduce outlier_dimensions --models minilm --tasks movie_reviews --seeds 1 2 --limit 1500 \
	  --ablation.max-layer-sentences 128 --out demo

test: install
	$(BIN)/python -m pytest -m 'not slow'

test-slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not slow' tests/architecture tests/docs
	$(MAKE) docs

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

clean:
	rm -rf .venv demo docs/_build
