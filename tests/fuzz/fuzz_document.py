"""The OpenAPI document of the data plane, as a fuzzer reads it and a generator of clients."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.fuzz.served import PARCEL, TOOLS

FORMS = "^/(v1|v2|invocations)"
"""Paths of protocols, whose schemas take what no model does: no inputs at all, or columns of others."""
MOST_EXAMPLES = 200
CONFIGURATION = """
[checks.negative_data_rejection]
# What is too large is refused as such, whatever else is wrong with it.
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""


def schemathesis(fuzzed, *words: str) -> None:
    """Send what the document allows and what it does not, and check each answer against it."""
    configuration = fuzzed.folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [
        *(
            TOOLS / "schemathesis",
            "--config-file",
            configuration,
            "run",
            f"{fuzzed.url}/openapi.json",
            "--phases",
            "examples,coverage,fuzzing",
        ),
        *("--max-examples", str(MOST_EXAMPLES), "--continue-on-failure", "--no-color", *words),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fuzzed.require_unharmed()


def test_a_models_own_form_takes_what_its_schema_takes_and_nothing_else(fuzzed):
    schemathesis(fuzzed, "--exclude-path-regex", FORMS)


def test_protocols_answer_as_they_are_described(fuzzed):
    schemathesis(fuzzed, "--include-path-regex", FORMS, "--exclude-checks", "positive_data_acceptance")


CALLS = """
import json, sys
from made import Client
from made.api.default import infer, invocations, models, predict_late_parcel, server
from made.models import InferModel, InferRequest, Invocation, InvocationsModel, Tensor
from made.models import PredictLateParcelBody, PredictLateParcelBodyRowsItem

url, parcel = sys.argv[1], json.loads(sys.argv[2])
client = Client(base_url=url)
row = PredictLateParcelBodyRowsItem(**parcel)
answer = predict_late_parcel.sync(client=client, body=PredictLateParcelBody(rows=[row, row], id="made"))
assert answer.id == "made" and answer.model == "late-parcel", answer
assert len(answer.rows) == 2 and 0 <= answer.rows[0].probability <= 1, answer
wrong = PredictLateParcelBodyRowsItem(**{**parcel, "hour": "late"})
problem = predict_late_parcel.sync(client=client, body=PredictLateParcelBody(rows=[wrong]))
assert problem.field == "hour" and problem.error_code == "INVALID_INPUT", problem
kinds = {str: "BYTES", int: "INT64", float: "FP64"}
inputs = [Tensor(name=name, shape=[1], datatype=kinds[type(v)], data=[v]) for name, v in parcel.items()]
told = infer.sync(InferModel.LATE_PARCEL, client=client, body=InferRequest(inputs=inputs, id="made"))
outputs = {one.name: one.data for one in told.outputs}
assert outputs["probability"] == [answer.rows[0].probability], told
asked = Invocation.from_dict({"dataframe_records": [parcel]})
said = invocations.sync(InvocationsModel.LATE_PARCEL, client=client, body=asked)
assert said.predictions == outputs["probability"], said
assert models.sync_detailed(client=client).status_code == 200
assert server.sync_detailed(client=client).status_code == 200
print("called")
"""


def test_a_generated_client_calls_with_its_types(fuzzed, tmp_path):
    (tmp_path / "openapi.json").write_bytes(fuzzed.http.get("/openapi.json").content)
    command = ["generate", "--path", "openapi.json", "--output-path", "made", "--meta", "none"]
    made = subprocess.run(
        [TOOLS / "openapi-python-client", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    # It knows no bodies of CSV or Parquet, and leaves out nothing else.
    told = (made.stdout + made.stderr).splitlines()
    warned = [line for line in told if line.startswith(("Unable", "Unsupported", "ERROR"))]
    assert sorted(set(warned)) == [
        "Unsupported content type application/vnd.apache.parquet",
        "Unsupported content type text/csv",
    ]
    (tmp_path / "calls.py").write_text(CALLS)
    words = [TOOLS / "python", "calls.py", fuzzed.url, json.dumps(PARCEL)]
    called = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert called.stdout == "called\n", called.stdout + called.stderr


@pytest.fixture(scope="module", autouse=True)
def _tools():
    if not (TOOLS / "schemathesis").exists():
        pytest.fail("run it by make fuzz, which installs what it needs")
