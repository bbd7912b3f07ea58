# Two commands are all a fresh machine needs: 'make demo' and 'make test'.
# Both make .venv themselves, from hash-pinned packages; neither needs root.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SDKS := .venv/.sdks-installed

# What the lab boots its servers with; Debian's names.
LAB_PACKAGES := mmdebstrap debian-archive-keyring systemd-container systemd dbus iproute2 nftables \
	strace e2fsprogs util-linux curl nginx python3 python3-venv git bubblewrap cron puppet puppet-lint
# RUNLEVEL: what is installed for tests is started by them, not by its package.
APT_INSTALL := RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-upgrade --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help demo test unit clouds lint soak bench deb constraints lab-deps clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

demo: $(INSTALLED)  ## a controller, three agents and four deployments on this machine, without root
	$(BIN)/python examples/demo/run.py

test: $(SDKS)  ## every check and every test that this machine can run
	$(BIN)/python tests/run_all.py

unit: $(INSTALLED)  ## only the unit tests, only on the Python of .venv
	$(BIN)/pytest -n logical --ignore=tests/lab --ignore=tests/crash --ignore=tests/clouds --ignore=tests/bench

clouds: $(SDKS)  ## only the tests with the clouds' SDKs and their doubles
	$(BIN)/pytest -n logical tests/clouds

lint: $(INSTALLED)  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Hours of luck in an hour: every property with fifty times the examples, the whole demo again and again,
# and the wire with 5,000 hosts.
soak: $(INSTALLED)  ## look longer: properties, demos and fleets, about an hour
	CLARION_EFFORT=50 $(BIN)/pytest -n logical -m hypothesis --timeout 3000 --ignore=tests/lab --ignore=tests/clouds
	for round in 1 2 3 4 5; do $(BIN)/python examples/demo/run.py || exit 1; done
	$(BIN)/python tests/bench/run.py --hosts 5000 --out soak.json

bench: $(SDKS)  ## measure, and write bench.json
	$(BIN)/python tests/bench/run.py

deb: $(INSTALLED)  ## build the Debian packages below dist; with CLOUDS=1 also those with the clouds' SDKs
	packaging/build-deb --out dist $(if $(CLOUDS),--clouds)

constraints:  ## pin every dependency anew: versions and hashes
	packaging/pin-dependencies

lab-deps:  ## install what the lab's servers need from Debian (root)
	@$(APT_INSTALL) $(LAB_PACKAGES) || { apt-get update -q && $(APT_INSTALL) $(LAB_PACKAGES); }

clean:  ## remove everything that was built, downloaded or cached
	rm -rf .venv .venvs build dist demo-run bench.json soak.json
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find agent controller tests examples -name __pycache__ -prune -exec rm -rf {} +

# pip takes nothing that constraints.txt does not name with its hash. Clarion itself is built by the
# pinned hatchling that is then already there, so no second, unpinned download happens behind our back.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Clarion needs Python 3.10 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The SDKs of the clouds and their doubles, a quarter of a gigabyte, which the demo does without.
$(SDKS): $(INSTALLED) constraints-clouds.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints-clouds.txt
	@touch $@
