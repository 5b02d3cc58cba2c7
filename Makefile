# Faxgate. `make demo` shows it, `make test` proves it. Neither needs root, nor a program of the system beyond Python.
#
# Python packages come from wherever pip is configured to take them (pip.conf, PIP_INDEX_URL and so on), in the versions
# of the lock files, checked by hash. Where those versions are not to be had: `make demo PINNED=no`.
# Another Python: `make demo PYTHON=python3.12`. Some tests only: `make test TESTS="tests/web -x"`. In one process, or in
# more: `make test AT_ONCE=0`.

VENV := .venv
BIN := $(VENV)/bin
PINNED := yes
PYTHON :=
TESTS :=
AT_ONCE := 2
UPGRADE :=
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Errors only: pip is chatty about the sources it is configured with.
QUIET := -qq

.PHONY: help demo test lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    a gateway, a mail sink and a telephone network in one process; results in demo-out/"
	@echo "make test    format, lint, types, import rules, tests"
	@echo "make lock    write the lock files anew from pyproject.toml (UPGRADE=--upgrade: newest versions)"
	@echo "make clean   remove what make has made"

demo: $(VENV)/.faxgate-run
	@$(BIN)/faxgate demo --out demo-out

# Every step runs, so that one look shows all that is wrong.
test: $(VENV)/.faxgate-test
	@failed=; \
	step() { name=$$1; shift; echo "== $$name"; "$$@" || failed="$$failed, $$name"; }; \
	step "ruff format" $(BIN)/ruff format --check .; \
	step "ruff check" $(BIN)/ruff check .; \
	step "mypy" $(BIN)/mypy; \
	step "lint-imports" $(BIN)/lint-imports; \
	step "pytest" $(BIN)/python -m pytest -n $(AT_ONCE) $(TESTS); \
	if [ -n "$$failed" ]; then echo "make test: failed: $${failed#, }"; exit 1; fi

# Run it with the oldest Python that is supported: what it needs is enough for the newer ones.
lock:
	@$(find_python) && folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	"$$python" -m venv "$$folder" && "$$folder/bin/python" -m pip --disable-pip-version-check install $(QUIET) pip-tools && \
	compile() { "$$folder/bin/pip-compile" $(COMPILE) $(UPGRADE) "$$@" pyproject.toml; } && \
	compile --extra postgres -o .ci/requirements.lock && \
	compile $(IMAGE) -c .ci/requirements.lock -o .ci/requirements-image.lock && \
	compile --extra postgres --extra test -c .ci/requirements.lock -o .ci/requirements-test.lock && \
	wc -l .ci/*.lock

# What the image has beside: every converter whose programs are in it.
IMAGE := --extra postgres --extra s3 --extra html --extra repair --extra heic --extra adaptive --extra codes

# No address of a package index is written into the lock files: it is everybody's own.
COMPILE := --quiet --generate-hashes --strip-extras --allow-unsafe --build-deps-for editable \
	--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

clean:
	@rm -rf demo-out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@if [ -L $(VENV) ]; then rm -f $(VENV)/.faxgate-run $(VENV)/.faxgate-test; else rm -rf $(VENV); fi
	@find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# A name on the PATH may be an empty promise: each candidate is run. Sets $python.
define find_python
python= && for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	"$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	python=$$candidate; break; done; \
[ -n "$$python" ] || { echo "Faxgate needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)." >&2; exit 1; }
endef

# A virtual environment that is there, or a link to one, is used as it is.
$(BIN)/python:
	@$(find_python); echo "making $(VENV) with $$("$$python" --version)"; "$$python" -m venv $(VENV)

$(VENV)/.faxgate-run: pyproject.toml .ci/requirements.lock | $(BIN)/python
	@echo "installing what Faxgate needs (a minute or two the first time) ..."
ifeq ($(PINNED),yes)
	@$(PIP) install $(QUIET) --require-hashes -r .ci/requirements.lock
	@$(PIP) install $(QUIET) --no-deps --no-build-isolation -e .
else
	@$(PIP) install $(QUIET) -e '.[postgres]'
endif
	@touch $@

$(VENV)/.faxgate-test: pyproject.toml .ci/requirements-test.lock | $(BIN)/python
	@echo "installing Faxgate and what its tests need (a minute or two the first time) ..."
ifeq ($(PINNED),yes)
	@$(PIP) install $(QUIET) --require-hashes -r .ci/requirements-test.lock
	@$(PIP) install $(QUIET) --no-deps --no-build-isolation -e .
else
	@$(PIP) install $(QUIET) -e '.[postgres,test]'
endif
	@touch $@
