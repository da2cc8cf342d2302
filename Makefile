# flashbrew: `make run` and `make test` need Python >= 3.11, git, make and a C compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUTPUT := out/flashsim

.DEFAULT_GOAL := help
.PHONY: help install run test test-tools test-faults test-htcondor test-image lint types imports check bench-flashsim bench-bookkeeping bench-executors bench-flows bench-timing clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install the package with everything it needs

# torch comes by pip (a prebuilt CPU wheel where one is configured, the usual build elsewhere);
# pip's resolver does not finish the rest, uv takes seconds.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	$(BIN)/python -m flows.warm
	$(BIN)/python -W ignore -m processors.timing.warm
	@touch $@

run: install ## Flash-simulate the shipped sample with the shipped bundles on all local cores
	$(BIN)/python run_processor.py flashsim --executor futures --output $(OUTPUT)

test: install ## Run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# tests that need one of these skip where it is absent, and say so
test-tools: ## Install the Debian packages that some tests use (root)
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends xrootd-server

test-faults: install ## Kill workers and clients, fill disks, count what is left (minutes)
	$(BIN)/python -m pytest -m 'faults and not htcondor' tests

# a pool that was not up before is stopped and unmounted whatever happens; its chroot stays
test-htcondor: install ## Start a real one-machine HTCondor pool (root), run over it, stop it
	@export MINICONDOR_PYTHON=$(abspath $(BIN)/python); \
	condor/minicondor.sh status >/dev/null 2>&1 || \
		{ trap 'condor/minicondor.sh down' EXIT; trap 'exit 130' INT TERM; }; \
	condor/minicondor.sh up && \
	FLASHBREW_HTCONDOR=1 $(BIN)/python -m pytest -m 'htcondor $(if $(FAULTS),,and not faults)' \
		tests/executors/htcondor/test_pool.py --durations=0 --durations-min=1

test-image: ## Build the image of workers without a registry, run the sample in it (root)
	condor/test-image.sh

lint: install ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## Check annotations (strict)
	$(BIN)/mypy

imports: install ## Check which room imports which
	$(BIN)/lint-imports --config pyproject.toml

check: lint types imports test ## Everything that continuous integration runs

bench-flashsim: install ## Measure overhead, memory and quality of the flash simulation
	$(BIN)/python -m benchmarks.flashsim

bench-bookkeeping: install ## Measure what storing results and accounting for chunks cost
	$(BIN)/python -W ignore -m benchmarks.bookkeeping

bench-executors: install ## Measure executors beside coffea's: overhead, memory, scaling, waste
	$(BIN)/python -W ignore -m benchmarks.executors

bench-flows: install ## Measure the flow engine beside the libraries that trained the flows
	$(BIN)/python -W ignore -m benchmarks.flows
	$(BIN)/python -W ignore -m benchmarks.scaling

bench-timing: install ## Measure photon times: the flow alone, the processor from file to file
	$(BIN)/python -W ignore -m benchmarks.timing

clean: ## Remove what runs and builds leave behind
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
