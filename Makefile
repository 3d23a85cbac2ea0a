# python3 may be another version where python3.11 is installed beside it.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
JOBS ?= 2
SEEDS ?= 1000
MINUTES ?= 3
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo demo-kafka test test-quick lint types bench recovery soak simulate chaos features docs screenshots vendor clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Run a workflow in memory and look at it in the browser; KEEP=1 leaves it running
	$(BIN)/python -m examples.demo

demo-kafka: $(READY) ## The same on a real Kafka broker, which is found or fetched
	$(BIN)/python -m examples.demo_kafka

test: $(READY) ## Run every test, JOBS=2 at a time; those on Kafka find or fetch a broker
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-quick: $(READY) ## Run the tests that need no broker; the end says how many were skipped
	STREAMWF_SKIP_KAFKA=1 $(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types
	$(BIN)/mypy --strict -p streamwf -p benchmarks
	$(BIN)/mypy --strict tests/conftest.py $(wildcard tests/typing)

simulate: $(READY) ## Simulate workers that fail in all ways: SEEDS=1000, on all cores; Ctrl-C ends it
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

chaos: $(READY) ## Torment workers on a real broker for MINUTES=3, and see that nothing is lost
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

bench: $(READY) ## Measure all that has an aim and compare; ARGS="--only throughput" for a part
	$(BIN)/python -m benchmarks.suite $(ARGS)

recovery: $(READY) ## Measure how soon all goes on after a crash, on a real broker
	$(BIN)/python -m benchmarks.recovery $(ARGS)

soak: $(READY) ## See whether memory, files and latency stay flat for MINUTES=30, on a real broker
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) $(ARGS)

features: $(READY) ## Run the acceptance suite on every host and write down its results
	$(BIN)/python -m pytest tests/acceptance --results docs/features.json $(ARGS)
	$(BIN)/python -m docs.generate

docs: $(READY) ## Write the generated parts of the documentation anew
	$(BIN)/python -m docs.generate

screenshots: $(READY) ## Take the pictures of the page anew
	$(BIN)/python -m tests.page.screenshots

vendor: $(READY) ## Fetch the libraries of the page by npm, and write down what they are
	$(BIN)/python scripts/vendor.py

clean: ## Delete the virtual environment and what builds and tools left
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is brought up to date first: older ones know no dependency groups.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later with venv is needed (Debian: apt-get install python3-venv)."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -qq -e . --group dev
	@touch $@
