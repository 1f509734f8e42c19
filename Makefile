# Four commands: make demo, make test, make check, make format; and make test-ray, whose Ray is 285 MB. Each sets up
# .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
RAY := $(VENV)/.ray-installed
TORCHRL := $(VENV)/.torchrl-installed

.PHONY: demo test test-ray test-s3 test-torchrl run-torchrl check format clean

demo: $(CORE)
	$(BIN)/worldsim demo

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests

test-ray: $(RAY)
	$(BIN)/python -m pytest tests/collect/ray_cluster.py

# The store in a bucket: moto's S3 server and what it needs are 120 MB, so they come only with this target.
test-s3: $(DEV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt "moto[s3]>=5.0.20" flask flask-cors
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/store/test_object_store.py

# TorchRL's wheel puts folders called benchmarks and scripts into site-packages, so it gets an environment of its own.
test-torchrl:
	$(MAKE) VENV=.venv-torchrl run-torchrl

run-torchrl: $(TORCHRL)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/sim/torchrl_env.py

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch is pinned by constraints.txt; every other package comes by the range of pyproject.toml.
$(CORE): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(CORE)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

$(RAY): $(DEV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[ray]"
	@touch $@

$(TORCHRL): $(DEV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[torchrl]"
	@touch $@

clean:
	rm -rf $(VENV) .venv-torchrl worldsim-demo
