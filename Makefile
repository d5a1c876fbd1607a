# Everything a person or a machine does with this checkout. Needs Python 3.11, git and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

# Stamps: an environment is set up once, and again when the metadata change.
DEMO_READY := $(VENV)/.ready-demo
DEV_READY := $(VENV)/.ready-dev
FULL_READY := $(VENV)/.ready-full
BENCH_READY := $(VENV)/.ready-bench

.DEFAULT_GOAL := help
.PHONY: help setup format lint type imports test test-full golden bench gallery calibrate models demo check clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | \
	  awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo 'making $(VENV); the first time this takes a minute or two'
	@$(PYTHON) -m venv $(VENV)

$(DEMO_READY): $(BIN)/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(DEV_READY): $(BIN)/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev]'
	@touch $@ $(DEMO_READY)

$(FULL_READY): $(DEV_READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0'
	@touch $@

$(BENCH_READY): $(FULL_READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev,bench]'
	@touch $@

setup: $(DEV_READY) ## make .venv with everything for development

format: $(DEV_READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(DEV_READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(DEV_READY) ## mypy --strict
	$(BIN)/mypy
	for file in tests/conftest.py tests/*/conftest.py; do $(BIN)/mypy $$file || exit 1; done

imports: $(DEV_READY) ## who may import what
	$(BIN)/lint-imports

test: $(DEV_READY) ## the tests, without the heavy ones
	$(BIN)/python -m pytest -m 'not full'

test-full: $(FULL_READY) ## the heavy tests: every model at full size, and what needs torch
	$(BIN)/python -m pytest -m full

golden: $(DEV_READY) ## write the golden files and docs/operators.md anew; read the diff before committing
	$(BIN)/python -m pytest -m 'not full' --update-goldens

models: $(DEMO_READY) ## write all built-in models into models/
	$(BIN)/ipuc model --all -o models

models/%.onnx: | $(DEMO_READY)
	$(BIN)/ipuc model $* -o $@

bench: $(BENCH_READY) models/alexnet.onnx models/resnet34.onnx ## benchmarks; numbers go to benchmarks/results/
	@mkdir -p benchmarks/results
	$(BIN)/python benchmarks/inference.py --json benchmarks/results/inference.json
	$(BIN)/python benchmarks/training.py --json benchmarks/results/training.json
	$(BIN)/python benchmarks/enumerate.py --json benchmarks/results/enumerate.json
	$(BIN)/python benchmarks/render.py --json benchmarks/results/render.json
	$(BIN)/python benchmarks/planning.py --json benchmarks/results/planning.json
	$(BIN)/python benchmarks/chips.py --json benchmarks/results/chips.json
	$(BIN)/python benchmarks/learning.py --json benchmarks/results/learning.json

gallery: $(DEV_READY) ## draw the pictures of docs/gallery.md at full size, into demo/gallery; takes an hour
	$(BIN)/python benchmarks/gallery.py --out $(DEMO)/gallery

calibrate: $(DEV_READY) ## errors of the cost model against figures in CSV=path; OUT=path, WRITE=1 keep them
	@test -n "$(CSV)" || { echo "say where the figures are: make calibrate CSV=path"; exit 1; }
	$(BIN)/python benchmarks/ipumodel.py "$(CSV)" $(if $(OUT),--out "$(OUT)") $(if $(WRITE),--write)

demo: $(DEMO_READY) models/alexnet.onnx models/resnet34.onnx ## the main job, end to end: AlexNet on a photo, its picture, and a network that learns
	@mkdir -p $(DEMO)
	$(BIN)/python models/photo.py $(DEMO)/photo.png
	$(BIN)/ipuc compile models/alexnet.onnx -o $(DEMO)/alexnet.ipu
	$(BIN)/ipuc run $(DEMO)/alexnet.ipu --input $(DEMO)/photo.png -o $(DEMO)/outputs.npz
	$(BIN)/ipuc render $(DEMO)/alexnet.ipu --out $(DEMO)/alexnet.png
	$(BIN)/ipuc render models/resnet34.onnx --view ops --out $(DEMO)/resnet34-ops.png
	$(BIN)/ipuc data digits -o $(DEMO)
	$(BIN)/ipuc model digits -o $(DEMO)
	$(BIN)/ipuc train $(DEMO)/digits.onnx --data $(DEMO)/digits.npz --epochs 5 --optimizer momentum:lr=0.01 \
	  --curve $(DEMO)/learning.png -o $(DEMO)/digits-trained.onnx
	$(BIN)/ipuc run $(DEMO)/digits-trained.onnx --input models/seven.png
	@echo
	@echo "The picture: $(CURDIR)/$(DEMO)/alexnet.png"
	@echo "The operators of ResNet-34: $(CURDIR)/$(DEMO)/resnet34-ops.png"
	@echo "What the digits network learnt: $(CURDIR)/$(DEMO)/learning.png"

check: lint type imports test ## what must pass before a commit is published

clean: ## remove everything that was made, .venv and models too
	rm -rf $(VENV) $(DEMO) build dist *.egg-info benchmarks/results
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	git clean -fdXq models
