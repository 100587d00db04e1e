# make demo        the whole pipeline on the embedded model, on CPU: a virtual environment, an install, a run
# make test        every check: formatting, lints, types, import contracts, tests
# make demo-model  train the demo model anew (about an hour on one thread) into data/demo-model
# make docs        write docs/cli.md from the commands' own help
# make bench       how right the rows of the demo run are, against reference solutions
# make bench-sandbox   what the sandbox costs, beside those of its peers that are installed
# make bench-decontamination BENCHMARKS=DIR   what decontamination costs and finds, beside the usual ways
# make bench-throughput   the solve stage beside vLLM alone, on the demo model
# make bench-rehearsal   62,000 questions through every stage, answers made by a generator, programs really run
# make bench-dedup   what dedup costs and how often it errs, beside those of its peers that are installed
#
# CPU builds of torch come from wherever pip is configured to find them. Where it finds only CUDA builds:
#   make demo CPU_INDEX=URL   asks that index too; PyTorch's install page names its own, under Pip and CPU
# BENCHMARKS=DIR              folder of real benchmark files, for the tests that need them
# JOBS=N                      processes that run the tests, 2 unless given (0: this one alone)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
CPU_INDEX ?=
PIP_FLAGS := $(if $(CPU_INDEX),--extra-index-url $(CPU_INDEX),)
JOBS ?= 2
PYTEST_FLAGS ?= $(if $(BENCHMARKS),--benchmarks=$(BENCHMARKS),)
# Built for CUDA, these come along with CPU torch and break `import transformers`; text models need none of them.
BROKEN_BESIDE_CPU_TORCH := torchvision torchaudio torchcodec

.PHONY: demo test lint install demo-model docs bench bench-sandbox bench-decontamination bench-dedup bench-throughput bench-rehearsal clean

$(VENV)/installed: pyproject.toml
	@echo "installing into $(VENV): vLLM for CPU and what it needs, about 3.5 GB" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) -e '.[cpu,dev]' || { \
		echo "make: the install failed. Where pip found no CPU build of torch, PyTorch's install page names an index" \
			"that has some (Pip, CPU): make $(MAKECMDGOALS) CPU_INDEX=URL" >&2; exit 1; }
	@$(BIN)/python -m pip uninstall --quiet --yes $(BROKEN_BESIDE_CPU_TORCH) 2>/dev/null || true
	@touch $@

install: $(VENV)/installed

demo: install
	@$(BIN)/datagen run demo --run $(RUN)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests start many processes: none of them compiles the sources again, even where PYTHONDONTWRITEBYTECODE is set.
test: lint
	@$(BIN)/python -m compileall -q datagen sandbox
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

demo-model: install
	$(BIN)/python -m datagen.demo.train --out data/demo-model
	$(BIN)/python -m datagen.demo.card data/demo-model

docs: install
	$(BIN)/python docs/write_cli.py

bench-sandbox: install
	$(BIN)/python -m benchmarks.sandbox_speed

bench-decontamination: install
	$(BIN)/python -m benchmarks.decontamination_speed --benchmarks $(BENCHMARKS)

bench-dedup: install
	$(BIN)/python -m benchmarks.dedup_speed --rows 62000

bench-throughput: install
	$(BIN)/python -m benchmarks.throughput

bench-rehearsal: install
	$(BIN)/python -m benchmarks.rehearsal --questions 62000

bench: install
	$(BIN)/python -m benchmarks.demo_agreement --run $(RUN)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
