# On a machine with Python 3.11 or newer, make and a C library, `make demo` and
# `make test` need nothing done first. PYTHON=... names another Python than the first.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-v2 check format stubs venv constraints clean

PYTHON ?=
export PYTHON

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

# An engine that has given up root may not write bytecode here, and would compile all of
# itself at each start. What was compiled before, and is as it was, is left alone.
COMPILE = umask 022 && $(RUN) -m compileall -q client engine sandbox

# The oldest generator whose stubs the SDK promises to load. It needs an older
# protobuf and setuptools than we run with, hence an environment of its own.
STUBS_PINS := grpcio-tools==1.71.2 grpcio==1.71.2 protobuf==5.29.5 'setuptools<81'
STUBS_VENV := .venv-stubs
STUBS_READY := $(STUBS_VENV)/.ready-1.71.2
STUBS_OUT := client

# What uses AWS's API in tests/compat, and what functions bring along there. Apart from
# all else, because each has its own mind on the versions of the same libraries.
COMPAT_CLIENTS := awscli==1.46.3 aws-sam-cli==1.170.0
COMPAT_PAYLOAD := 'aws-lambda-powertools[validation,parser]==3.37.0' mangum==0.22.0 \
  fastapi==0.165.0 snapshot-restore-py==1.0.0 awslambdaric==4.2.2 \
  apig-wsgi==2.20.0 serverless-wsgi==3.1.0 flask==3.1.3
# As it packs itself: without its command's own needs, AWS's libraries among them.
COMPAT_ALONE := chalice==1.34.0
COMPAT_NODE := serverless-http@4.0.0 express@5.3.0 @middy/core@6.4.5 \
  @middy/http-json-body-parser@6.4.5 @middy/http-error-handler@6.4.5
COMPAT_VENV := .venv-compat
COMPAT_READY := $(COMPAT_VENV)/.ready-1.46.3-1.170.0-3.37.0-4.2.2-collections-1

CONSTRAINTS_VENV := .venv-constraints

help:  ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: $(READY)  ## start an engine, deploy a function, invoke it, show its bill
	@$(RUN) docs/demo/run.py

# By file, as tests of one share an engine; the longest are in the first. One more than
# there are processors, as a fifth of the time is spent waiting.
AT_ONCE := -n $$(($$(nproc) + 1)) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

ALONE := tests/isolation/test_groups.py

# The tests start hundreds of interpreters, which should find all of this tree compiled.
test: export PYTHONDONTWRITEBYTECODE :=

test: check  ## check, then run the whole test suite
	@$(COMPILE)
# The newest Pythons have no build of the pinned generator; its test knows them.
	@$(MAKE) --silent $(STUBS_READY) || true
	@.make/tools.sh
# The tests that need these say so, and why.
	@$(MAKE) --silent $(COMPAT_READY) || true
# Apart, because these fork, and gRPC, which the others load, takes that badly. They count
# what is left of launchers of their own: so two at once, but where groups that nobody
# owns any more are swept by the next launcher, whoever's that is.
# Meanwhile the other tests are compiled, with what pytest makes of their asserts: each of
# the processes below would do so by itself.
	@$(RUN) -m pytest -p no:cacheprovider --collect-only -qq --ignore=tests/isolation \
	  >/dev/null 2>&1 & $(RUN) -m pytest $(ALONE); status=$$?; wait; exit $$status
	@$(RUN) -m pytest tests/isolation $(addprefix --ignore=,$(ALONE)) \
	  $(AT_ONCE) --maxprocesses 2
	@$(RUN) -m pytest --ignore=tests/isolation $(AT_ONCE)

# What control groups hold, and what tells an old kernel from a new one. Another machine
# and more time: TESTS=tests/isolation has all, WHO=root one half, KERNEL=... another.
TESTS := $(addprefix tests/isolation/test_,limits.py groups.py hostile_groups.py \
  hostile_memory.py landlock.py posture.py shedding.py) \
  $(addprefix tests/unit/test_guest_,sealed_memory.py fork_loop.py)

test-v2: $(READY)  ## test what control groups v2 hold, in a virtual machine
	@.make/machine/run.sh $(TESTS)

check: $(READY)  ## everything that needs no running: format, lint, types, imports
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

format: $(READY)  ## format the code, and mend what ruff can mend
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

stubs: $(STUBS_READY)  ## generate client/sandlot/v1 from proto/
	@$(STUBS_VENV)/bin/python -m grpc_tools.protoc -Iproto --python_out=$(STUBS_OUT) \
	  --pyi_out=$(STUBS_OUT) --grpc_python_out=$(STUBS_OUT) proto/sandlot/v1/*.proto

venv: $(READY)  ## make .venv with all that the other targets need

constraints: $(READY)  ## refresh constraints.txt: the newest of everything
	@rm -rf $(CONSTRAINTS_VENV)
	@.make/venv.sh $(CONSTRAINTS_VENV) -e '.[dev]'
	@{ sed '/^[^#]/,$$d' constraints.txt; \
	  $(CONSTRAINTS_VENV)/bin/python -m pip freeze --exclude-editable; } > $(CONSTRAINTS_VENV)/new
	@mv $(CONSTRAINTS_VENV)/new constraints.txt
	@rm -rf $(CONSTRAINTS_VENV)

clean:  ## remove what make and the tools made
	rm -rf .venv .venv-* .machine build dist .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A tree that was copied brings along an environment that points at the original.
ifneq ($(file <$(READY)),$(CURDIR))
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt
	@.make/venv.sh $(VENV) -c constraints.txt -e '.[dev]'
	@$(COMPILE)
	@echo '$(CURDIR)' > $@

$(STUBS_READY):
	@.make/venv.sh $(STUBS_VENV) --only-binary=:all: $(STUBS_PINS)
	@touch $@

$(COMPAT_READY):
	@.make/venv.sh $(COMPAT_VENV) --only-binary=:all: $(COMPAT_CLIENTS)
# By the same interpreter: wheels are for its version, as the functions' runtime is.
	@$(COMPAT_VENV)/bin/python -m pip install --disable-pip-version-check --no-input \
	  --quiet --no-warn-conflicts --only-binary=:all: --upgrade \
	  --target $(COMPAT_VENV)/payload $(COMPAT_PAYLOAD)
	@$(COMPAT_VENV)/bin/python -m pip install --disable-pip-version-check --no-input \
	  --quiet --no-warn-conflicts --only-binary=:all: --upgrade --no-deps \
	  --target $(COMPAT_VENV)/payload $(COMPAT_ALONE)
# Where there is Node; its tests say so where there is not.
	@! command -v npm >/dev/null || npm install --prefix $(COMPAT_VENV)/node --silent \
	  --ignore-scripts --no-audit --no-fund --no-update-notifier $(COMPAT_NODE)
	@touch $@
