# `make demo` and `make test` are all a newcomer needs; both set everything up first.
TORCH ?= torch==2.13.0
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Large blocks kept by the allocator make prefill on a CPU several times faster (see docs/architecture.md).

.PHONY: setup demo test check format bench docs clean

setup: $(READY)

# torch comes first and alone: any other order may pull gigabytes of GPU packages.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("SeqMend needs Python 3.11, 3.12 or 3.13, not " + sys.version.split()[0] if not (3, 11) <= sys.version_info[:2] <= (3, 13) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: setup
	$(BIN)/seqmend demo --out runs/demo

test: setup
	$(BIN)/pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/seqmend bench ingest
	$(BIN)/seqmend bench backbones
	$(BIN)/seqmend bench scoring

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache
