# Two commands do all the set-up on a fresh machine: `make report` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: report test test-slow bench lab docs clean

report: $(INSTALLED)  ## train MiniLM on film reviews, sweep ranks, fit matrices: three reports and reports/index.html
	$(BIN)/vxlab report 01_fine_tune 02_rank_sweep 05_expressivity

test: $(INSTALLED)  ## lint, types, doctests, unit tests, and every notebook at smoke scale
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not alone"
	$(BIN)/python -m pytest -m "alone and not slow and not gpu" $$(grep -rl --include="test_*.py" "mark.alone" tests)

test-slow: $(INSTALLED)  ## what takes longer: large downloads, full-size scores
	$(BIN)/python -m pytest -m slow

bench: $(INSTALLED)  ## step time and memory against PEFT, rounding, SVDs, analyses, explorers: 40 minutes on two cores, or on the GPU there is
	for each in precision svd steps ways analysis explorers; do $(BIN)/python benchmarks/$$each.py || exit 1; done

lab: $(INSTALLED) docs/_build/index.html  ## open JupyterLab on the notebooks, with the manual's pages beside them
	$(BIN)/vxlab lab

docs/_build/index.html:
	$(MAKE) docs

docs: $(INSTALLED)  ## build the manual into docs/_build, without the network, warnings as errors
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
	@echo docs/_build/index.html

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "vxlab needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable '.[notebooks,test]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib > /dev/null || true  # on all cores; some packages hold templates
	touch $@

clean:  ## remove the virtual environment, the built manual and all reports
	rm -rf $(VENV) docs/_build reports
