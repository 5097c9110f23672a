# Everything runs in $(VENV), made on first use: nothing is installed into the system's Python.
#   make run PORT=8000      make test ARGS="-x tests/actors/core"      make test PY=python3.12

PORT ?= 7125
VENV ?= .venv
ARGS ?=
PY ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

PYTHON := $(VENV)/bin/python
BIOME := build/node/node_modules/.bin/biome
PYRIGHT := build/node/node_modules/.bin/pyright

.DEFAULT_GOAL := help
.PHONY: help run demo demo-fleet test campaign chaos lint format typing bench bench-peers performance guard binary screenshots clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.ok ## start the queue at PORT (7125) before your Ollama, or before a small model if none answers
	@$(PYTHON) .dev/run.py --port $(PORT)

demo: $(VENV)/.ok ## watch a real small model and the queue at work for half a minute
	@$(PYTHON) .dev/demo.py

demo-fleet: $(VENV)/.ok ## the same on four servers and a PostgreSQL, while each of them is killed in turn
	@$(PYTHON) .dev/fleet_demo.py

# In parallel, with a file's tests in one process and in order; -n0 in ARGS runs all in one process.
# Without kept bytecode the processes that tests start would compile the package each time.
test: $(VENV)/.ok ## run the tests, or those that ARGS picks
	env -u PYTHONDONTWRITEBYTECODE $(PYTHON) -P -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

campaign: $(VENV)/.ok ## test for hours: 200 kills, batches of 50,000 lines, 100,000 random requests
	OLLAMA_QUEUE_KILLS=200 OLLAMA_QUEUE_LINES=50000 OLLAMA_QUEUE_REQUESTS=100000 \
		OLLAMA_QUEUE_TASKS=100000 $(MAKE) test ARGS="tests/system/crashes \
		tests/security/test_documented_api.py tests/fleet/test_moves.py -s $(ARGS)"

chaos: $(VENV)/.ok ## kill, stop and cut off the servers of a fleet for three minutes
	OLLAMA_QUEUE_CHAOS=180 $(MAKE) test ARGS="-n0 tests/fleet/test_chaos.py -s $(ARGS)"

lint: $(VENV)/.ok ## check the style and the formatting
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	@$(PYTHON) .dev/node_packages.py
	$(BIOME) ci --config-path=.dev --error-on-warnings static tests/clients

format: $(VENV)/.ok ## format all sources as lint wants them
	$(PYTHON) -m ruff format
	@$(PYTHON) .dev/node_packages.py
	$(BIOME) check --config-path=.dev --write static tests/clients

# mypy does not follow the __path__ of ollama_queue.py, so it checks an ordinary package of links,
# beside which it also finds the benchmarks and the test helpers.
typing: $(VENV)/.ok ## check the types
	@mkdir -p build/typing/ollama_queue build/typing/tests
	@ln -sfn ../../../ollama_queue.py build/typing/ollama_queue/__init__.py
	@ln -sfn ../../../testing.py build/typing/ollama_queue/testing.py
	@for room in actors http cli static; do \
		ln -sfn ../../../$$room build/typing/ollama_queue/$$room; done
	@ln -sfn ../../../tests/support build/typing/tests/support
	@ln -sfn ../../benchmarks build/typing/benchmarks
	@for module in model_server node_packages; do \
		ln -sfn ../../.dev/$$module.py build/typing/$$module.py; done
	@$(PYTHON) .dev/node_packages.py
	$(PYRIGHT) & pyright=$$!; \
	cd build/typing && $(abspath $(PYTHON)) -m mypy --config-file ../../setup.cfg \
		-p ollama_queue -p benchmarks -p tests.support -m model_server -m node_packages; \
	mypy=$$?; wait $$pyright && exit $$mypy

bench: $(VENV)/.ok ## run the benchmarks, or those that ARGS picks
	$(PYTHON) -m benchmarks $(ARGS)

bench-peers: $(VENV)/.ok ## measure other task queues beside this one; installs them, Redis and PostgreSQL
	$(PYTHON) -m benchmarks.peers $(ARGS)

performance: $(VENV)/.ok ## measure the figures of docs/performance.md anew, on a quiet machine: some twenty minutes
	$(PYTHON) -m benchmarks.performance $(ARGS)

guard: $(VENV)/.ok ## compare the cost of what is done most with the parent commit's, or that in ARGS
	$(PYTHON) -m benchmarks.guard $(ARGS)

binary: $(VENV)/.ok ## make dist/ollama-queue-server and dist/ollama-queue, single files that need no Python
	@$(PYTHON) .dev/build_binaries.py

screenshots: $(VENV)/.ok ## take the pictures of the page that the README shows; needs Chromium
	@$(PYTHON) .dev/screenshots.py

clean: ## remove what make made, but not the queue's data
	rm -rf $(VENV) .demo .backends build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# No build isolation: the build's own packages are pinned like all others.
$(VENV)/.ok: pyproject.toml constraints.txt
	@test -n "$(PY)" || { echo "Python 3.11 or newer was not found: name one with PY=…" >&2; exit 1; }
	@command -v "$(PY)" >/dev/null || { echo "$(PY) was not found: name another with PY=…" >&2; exit 1; }
	@"$(PY)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PY) is too old: Python 3.11 or newer is needed, name one with PY=…" >&2; exit 1; }
	@"$(PY)" -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PY) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }
	"$(PY)" -m venv $(VENV)
	$(PYTHON) -m pip install -q --disable-pip-version-check -c constraints.txt hatchling
	$(PYTHON) -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@
