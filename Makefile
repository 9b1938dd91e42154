# What a fresh machine needs: git, python3 with venv, make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test soak mutants swarm bench lint format clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)  ## the whole story on this machine; KEEP=1 leaves the server up
	$(BIN)/towline demo $(if $(KEEP),--keep)

test: $(READY)  ## every test that .ci/run needs
	$(BIN)/python -m pytest -n 3 --dist worksteal

soak: $(READY)  ## the long lives: as `test` plays them, twenty times as many
	TOWLINE_SOAK=1 $(BIN)/python -m pytest -n 2 --timeout 14400 tests/reconciler/test_invariants.py \
		tests/reconciler/test_replay.py tests/reconciler/test_waiting.py \
		tests/reconciler/test_both_engines.py tests/reconciler/test_rehearsal.py \
		tests/reconciler/test_walk.py tests/reconciler/test_flushes.py tests/security/test_parsers.py

mutants: $(READY)  ## every check of what comes from outside switched off by itself: some test must fail
	$(BIN)/python -m tests.security.mutants

swarm: $(READY)  ## two rollouts to 10,000 simulated devices, then a server killed 20 times under load
	$(BIN)/python -m bench.swarm rollout
	$(BIN)/python -m bench.swarm kills

bench: $(READY)  ## Towline beside its twins: docs/performance.md; ROWS="polls reports" for some only
	$(BIN)/python -m bench $(ROWS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
