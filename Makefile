# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= .varv
SERVE ?= 1
RUNS ?= 400
FILE ?= examples/flights/flights.py

# Without its bytecode every process would compile varv anew, and every worker rewrite all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test soak fuzz packages contracts orchestrators tracking feast transcripts fast costs lint types docs bench promises wheel lock clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "varv needs Python 3.11 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/varv --home $(HOME_DIR) replay $(FILE)
ifneq ($(SERVE),0)
	$(BIN)/varv --home $(HOME_DIR) up $(FILE)
endif

# Everything that must hold, the slow parts included.
test: setup lint types
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not soak" --doctest-modules src tests

# The same promises over more seeds, kills and points of a crash: a quarter of an hour more.
soak: setup
	$(BIN)/python -m pytest -n auto --dist worksteal -m soak tests

# Requests that nobody means well, to a server of its own: ten minutes. What reads the OpenAPI document brings forty
# packages that nothing else needs, so it has an environment of its own and is in no lock.
fuzz: setup .venv-fuzz/.installed
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/fuzz/fuzz_*.py

.venv-fuzz/.installed: Makefile
	test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet "schemathesis>=4.32,<5" "openapi-python-client>=0.29,<0.30"
	touch $@

# What is worth running before every commit: all that is neither marked as slow nor among the costliest tests, which
# `make costs` writes to tests/costs.txt so that the others fit into a minute on two cores. Its workers have a core each, so threads of their own would only wait for
# each other; `make test` leaves them.
fast: export OMP_NUM_THREADS := 1
fast: export POLARS_MAX_THREADS := 1
fast: setup lint types
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not costly and not soak" --doctest-modules src tests

# After many tests were added: measures them one by one, five minutes.
costs: export OMP_NUM_THREADS := 1
costs: export POLARS_MAX_THREADS := 1
costs: setup
	$(BIN)/python -m pytest -q -p tests.costs -m "not slow and not soak" --doctest-modules src tests

# What `varv package` writes, served by the servers that it is for: a minute, at first six. Each brings packages that
# exclude the others', so each has an environment of its own and is in no lock.
PEERS ?= .venv-peers
packages: setup $(PEERS)/mlflow/.installed $(PEERS)/mlserver/.installed $(PEERS)/bentoml/.installed
	PEERS=$(PEERS) $(BIN)/python -m pytest -q -p no:cacheprovider tests/peers/peer_packages.py

# What `varv contract export` writes, asked of mutated frames by the packages that it is for: ten minutes.
contracts: setup $(PEERS)/pandera/.installed $(PEERS)/gx/.installed
	PEERS=$(PEERS) $(BIN)/python -m pytest -q -p no:cacheprovider tests/peers/peer_contracts.py

$(PEERS)/pandera/.installed: NEEDED := "pandera[pandas,polars,io]>=0.35,<0.36"
$(PEERS)/gx/.installed: NEEDED := "great_expectations>=1.24,<2"

# What `varv export pipeline` writes, read and run by those orchestrators: three minutes, at first ten.
ORCHESTRATORS := airflow-2 airflow-3 kfp dagster prefect
orchestrators: setup $(ORCHESTRATORS:%=$(PEERS)/%/.installed)
	PEERS=$(PEERS) $(BIN)/python -m pytest -q -p no:cacheprovider tests/peers/peer_orchestrators.py

$(PEERS)/airflow-2/.installed: NEEDED := "apache-airflow==2.11.*" apache-airflow-providers-standard
$(PEERS)/airflow-3/.installed: NEEDED := "apache-airflow>=3.1,<4" apache-airflow-providers-standard
$(PEERS)/kfp/.installed: NEEDED := "kfp>=2.17,<3" kfp-kubernetes
$(PEERS)/dagster/.installed: NEEDED := "dagster>=1.12,<2"
$(PEERS)/prefect/.installed: NEEDED := "prefect>=3.4,<4"

# An unmodified MLflow client of today and one of a year ago, against MLflow's own server and against the one at
# VARV_TRACKING_URL: a quarter of an hour, and two gigabytes at first.
tracking: setup $(PEERS)/mlflow-now/.installed $(PEERS)/mlflow-year-ago/.installed
	PEERS=$(PEERS) $(BIN)/python -m pytest -q -p no:cacheprovider tests/peers/peer_tracking.py tests/peers/peer_scanning.py

# An unmodified Feast client reads from varv's online store, and what `varv import feast` writes gives the values that
# Feast's own stores of files give: four minutes, at first eight.
feast: setup $(PEERS)/feast/.installed
	PEERS=$(PEERS) $(BIN)/python -m pytest -q -p no:cacheprovider tests/peers/peer_feast.py tests/peers/peer_feast_import.py

$(PEERS)/feast/.installed: NEEDED := "feast[duckdb]>=0.67,<0.68"

# What MLflow's own server answers, asked anew; the differences are read like those of any other change.
transcripts: setup $(PEERS)/mlflow-now/.installed $(PEERS)/mlflow-year-ago/.installed
	$(BIN)/python -m tests.peers.recording $(PEERS)/mlflow-now $(PEERS)/mlflow-year-ago

$(PEERS)/mlflow-now/.installed: NEEDED := "mlflow>=3.17,<4" lightgbm xgboost-cpu psutil skops "torch==2.13.0"
# Later SQLAlchemy lacks what that version imports.
$(PEERS)/mlflow-year-ago/.installed: NEEDED := "mlflow==3.6.*" "sqlalchemy<2.1" lightgbm xgboost-cpu psutil
$(PEERS)/mlflow/.installed: NEEDED := "mlflow>=3,<4" onnx onnxruntime
$(PEERS)/mlserver/.installed: NEEDED := "mlserver>=1.7,<2" onnxruntime
$(PEERS)/bentoml/.installed: NEEDED := "bentoml>=1.4,<2" onnxruntime
$(PEERS)/%/.installed: Makefile
	test -x $(PEERS)/$*/bin/python || $(PYTHON) -m venv $(PEERS)/$*
	$(PEERS)/$*/bin/python -m pip install --quiet $(NEEDED)
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/pyrefly check

docs: setup
	$(BIN)/python -m varv.app.reference docs/reference

bench: setup
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

# What a machine without this repository installs: dist/varv-*.whl.
wheel: setup
	$(BIN)/uv build --quiet --wheel --out-dir dist

# The risks and times that docs/explanation/statistics.md promises, simulated: about an hour on two cores.
promises: setup
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python -m benchmarks.promises $(RUNS)

# Names, versions and hashes only; no addresses.
lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--group dev --extra examples --python-version 3.11 --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .venv-fuzz .varv build dist .pytest_cache .ruff_cache .hypothesis
