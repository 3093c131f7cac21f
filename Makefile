# Everything that a newcomer needs: `make demo`, `make test`, `make check`.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PEERS := .venv/peers-installed
BENCHMARKS := $(sort $(wildcard benchmarks/*.py))

.PHONY: install demo d90 test test-slow check format docs bench bench-quick clean

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

# Some 35 minutes on two cores; the same words continue a search that was broken off.
d90: install
	$(BIN)/dimscope run measure/intrinsic_dimension --model minilm --task movie_reviews --out d90 \
	  --learning-rates 0.1 0.3 --epochs 2 --schedule linear --num-seeds 2 \
	  --bracket-ratio 2 --max-minutes 43
	$(BIN)/python docs/recipes/intrinsic_dimension/d90.py d90

# One thread for each process: tiny models gain nothing from more, and threads that wait for each other cost.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses auto --maxprocesses 8

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

# The rivals stand in their own extra: nobody needs them but to be compared with.
$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[compare]'
	touch $(PEERS)

bench: $(PEERS)
	set -e; for file in $(BENCHMARKS); do echo "$$file"; $(BIN)/python "$$file"; done

bench-quick: $(PEERS)
	set -e; for file in $(BENCHMARKS); do echo "$$file"; $(BIN)/python "$$file" --quick; done

clean:
	rm -rf .venv demo docs/_build
