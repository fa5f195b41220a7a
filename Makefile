# Everything runs in .venv, which is made when it is missing or when what it is made from has changed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# tiny models: more threads would only wait for each other
export OMP_NUM_THREADS ?= 1

# the banner of mkdocs-material about other projects
export NO_MKDOCS_2_WARNING ?= 1

.PHONY: demo test slow lint types notebooks docs pages bench equivalence golden oracle mmcv mmcls zoo hostile chaos wheel clean

demo: $(READY)            ## one config, both drivers, the numbers side by side
	$(RUN) -m mmhooks demo

test: $(READY)            ## the test suite, on every core, file by file
	$(RUN) -m pytest -n logical --dist loadfile -m "not slow and not gpu"

slow: $(READY)            ## the tests that make test leaves out for time: more processes, real services, more cases
	$(RUN) -m pytest -n logical --dist loadfile -m "slow and not gpu" --ignore tests/mmcls --ignore tests/notebooks

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(READY)
	$(RUN) -m mypy --strict mmhooks adapters/mmhooks_lightning

notebooks: $(READY)       ## all notebooks from a clean state; WRITE=--write puts their outputs into the files
	$(RUN) notebooks/run.py $(WRITE)

bench: $(READY)           ## ratios against peers: one table, and benchmarks/results/bench.json
	$(RUN) -m benchmarks

docs: $(READY)            ## the documentation, built strictly into site/, and looked at in Chromium
	$(RUN) -m mkdocs build --strict
	$(RUN) -m pytest -q tests/docs/site_in_browser.py

pages: $(READY)           ## write anew what is generated in docs/: pictures, commands with their output, benchmarks
	PYTHONPATH=. $(RUN) -m docs.make

equivalence: export CASES ?= 300
equivalence: $(READY)     ## all hooks and settings, and 300 drawn cases (CASES, SEED), under both drivers: the same
	$(RUN) -m pytest -q -p no:warnings tests/lightning/equivalence tests/lightning/test_resume.py

wheel: $(READY)
	$(RUN) -m build --wheel

# The oracle, real MMCV 1.7.2, lives in an environment of its own; the ordinary tests never need it.
ORACLE := .venv-oracle
golden: $(ORACLE)/.ready  ## record tests/golden anew
	PYTHONPATH=tests/oracle/stand_in:. $(ORACLE)/bin/python tests/oracle/record.py
	PYTHONPATH=tests/oracle/stand_in:. $(ORACLE)/bin/python tests/zoo/record.py
	PYTHONPATH=tests/oracle/stand_in:. $(ORACLE)/bin/python tests/zoo/record_options.py
	PYTHONPATH=tests/oracle/stand_in:. $(ORACLE)/bin/python tests/zoo/record_plans.py

oracle: $(ORACLE)/.ready  ## random configurations, run by real MMCV and by mmhooks, compared bit for bit
	PYTHONPATH=tests/oracle/stand_in:. TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 $(ORACLE)/bin/python tests/oracle/campaign.py $(CAMPAIGN)

mmcv: $(READY) $(ORACLE)/.ready  ## hooks that were written for the real MMCV, under both drivers
	MMHOOKS_MMCV="$$(echo $(abspath $(ORACLE))/lib/python*/site-packages)" $(RUN) -m pytest tests/foreign

mmcls: $(READY) $(ORACLE)/.ready  ## configs of mmcls, trained by mmcls on the real MMCV and under both drivers: the same
	$(ORACLE)/bin/python tests/zoo/codebases.py
	MMHOOKS_MMCV="$$(echo $(abspath $(ORACLE))/lib/python*/site-packages)" $(RUN) -m pytest --show-capture=no tests/mmcls

zoo: $(READY)             ## every config of four code bases, compared with what MMCV makes of it; beside MMCV after make oracle
	PYTHONPATH=. $(RUN) tests/zoo/campaign.py --oracle $(ORACLE)/bin/python $(CAMPAIGN)

hostile: $(READY)         ## hostile and broken configs, read in a process that watches what is opened, done and taken
	PYTHONPATH=. $(RUN) tests/config/hostile/watch.py --drawn 1000 $(CAMPAIGN)

chaos: $(READY)           ## training processes killed at drawn moments, 300 times; each run must end as if nobody had
	$(RUN) tests/chaos/killing.py --kills 300 --size 100 $(CAMPAIGN)

$(ORACLE)/.ready: constraints.txt
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/pip install -q torch==2.13.0 "setuptools<80" wheel
	$(ORACLE)/bin/pip install -q addict yapf packaging pyyaml pillow opencv-python-headless numpy hypothesis
	MMCV_WITH_OPS=0 $(ORACLE)/bin/pip install -q --no-build-isolation --no-deps mmcv==1.7.2
	touch $@

# torch first and alone: that very pin is what installs quickly, and nothing after it pulls another one.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; write make PYTHON=/path/to/it")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(RUN) -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(ORACLE) build dist site work_dirs
