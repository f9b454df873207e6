# What can be done here. Each target does its own set-up: it needs Debian 12 with make, as root or with sudo.

PYTHON = .venv/bin/python
XEN = 4.20
CPUS = 1
FUZZ_SECONDS = 600

.PHONY: help demo recording test test-long test-fast lab-test lint bench bench-quick fuzz sanitize sweep soak shell docs docs-check ansible-test release deb clean setup

help:           ## Show this list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: setup     ## Create, list and destroy a PV, a PVH and an HVM guest on a real Xen host
	@$(PYTHON) -m lab run --xen $(XEN) --timeout 900 -- python3 examples/demo.py

recording: setup ## Record make demo anew: docs/figures/demo.cast, and the picture of it in README
	@$(PYTHON) -m tools.recording

test: setup     ## Run all checks and tests, those on real Xen included
	@$(PYTHON) -m tools.test

test-long: setup ## Run all of `make test`, and what takes long and asks again in another way; takes hours
	@PYXEN_LONG=1 $(PYTHON) -m tools.test

test-fast: setup ## Run the checks and the tests that need no Xen
	@$(PYTHON) -m tools.test checks unit backends offhost-4.20 offhost-4.17

lab-test: setup ## Run the tests on real Xen only: make lab-test XEN=4.17 CPUS=2 ARGS="-k shutdown"
	@$(PYTHON) -m lab run --xen $(XEN) --cpus $(CPUS) -- python3 -m pytest -p no:cacheprovider tests/xen $(ARGS)

lint: setup     ## Run the checks: ruff and mypy
	@$(PYTHON) -m tools.test checks

bench: setup    ## Measure pyxen against programs in C and Go and xl, and write benchmarks/RESULTS.md; goes on where it was stopped
	@$(PYTHON) -m benchmarks

bench-quick: setup ## Measure how costs grow with the number of domains, in some minutes; goes on where it was stopped
	@$(PYTHON) -m benchmarks.quick

fuzz: setup     ## Fuzz all readers (FUZZ_SECONDS=600 each), and look for texts that xl reads differently; takes long
	@nice -n 15 $(PYTHON) -m tests.fuzz --seconds $(FUZZ_SECONDS) --corpus build/fuzz/corpus
	@PYTEST_TIMEOUT=0 PYXEN_RANDOM=1 PYXEN_CONFIGS=20000 PYXEN_TEXTS=200000 $(PYTHON) -m tools.test unit oracle

sweep: setup    ## Let each call of each verb fail once, on a pretended host; takes an hour
	@PYXEN_SWEEP=1 PYTEST_TIMEOUT=0 $(PYTHON) -m pytest -q tests/offhost/test_sweep.py tests/offhost/test_device_models.py

sanitize: setup ## Run the tests of the C code with the sanitizers of addresses and of undefined behaviour
	@nice -n 15 $(PYTHON) -m tools.sanitize

soak: setup     ## Create and destroy 10,000 domains off-host and 1,000 on Xen, a day of events: nothing grows; takes long
	@PYXEN_CYCLES=10000 PYXEN_EVENTS=86400 PYTEST_TIMEOUT=7200 nice -n 15 \
		$(PYTHON) -m pytest -q -rP --durations=4 tests/offhost/test_soak.py -k "$(XEN)"
	@$(PYTHON) -m lab run --xen $(XEN) -- env PYXEN_CYCLES=1000 \
		python3 -m pytest -p no:cacheprovider -s --timeout 3600 tests/xen/test_cycles.py

docs: setup     ## Build the documentation into docs/_build, and check the entries of the reference
	@$(PYTHON) -m pip install -q --group docs
	@$(PYTHON) -m sphinx -q -E -W --keep-going -b html docs docs/_build
	@$(PYTHON) -m tools.site_check

docs-check: docs ## Look at the built documentation in headless Chromium: widths, cut tables, search, console, contrast
	@tools/bootstrap chromium
	@$(PYTHON) -m pip install -q --group docs-check
	@$(PYTHON) -m tools.site_browser

ansible-test: setup ## Ask ansible-test's sanity tests and ansible-lint about the collection, and build it in dist
	@$(PYTHON) -m tools.ansible

release: setup  ## Build and check wheels and source distribution in dist; nothing is uploaded (RELEASING.md)
	@$(PYTHON) -m tools.release

deb: setup      ## Build Debian's packages in dist/debian, for each Debian of the lab
	@$(PYTHON) -m tools.debian build

shell: setup    ## Open a shell in dom0 of a real Xen host, with pyxen installed
	@$(PYTHON) -m lab shell --xen $(XEN)

setup:
	@tools/bootstrap

clean:          ## Remove what was made here; caches outside stay
	rm -rf .venv build dist src/*.egg-info src/pyxen/backends/xenlight/libxl/*.so src/pyxen/backends/xenlight/libxl/pyxen-worker-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
