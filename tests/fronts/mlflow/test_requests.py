"""Requests that an unmodified client sends, and that no record of MLflow's answers holds."""

from __future__ import annotations

import httpx
import pytest

API = "/api/2.0/mlflow/"


@pytest.fixture(scope="module")
def client(tracking_url):
    with httpx.Client(base_url=f"{tracking_url}{API}", timeout=30.0) as client:
        yield client


def test_what_a_path_names_is_deleted_without_a_body(client):
    made = client.post("logged-models", json={"experiment_id": "0", "tags": [{"key": "a", "value": "b"}]})
    id = made.json()["model"]["info"]["model_id"]
    assert client.delete(f"logged-models/{id}/tags/a").json() == {}
    assert "tags" not in client.get(f"logged-models/{id}").json()["model"]["info"]
    refused = client.request(
        "DELETE", f"logged-models/{id}", content="{}", headers={"content-type": "text/plain"}
    )
    assert refused.status_code == 400


@pytest.mark.parametrize("deep", ['{"a":' * 40 + "1" + "}" * 40, "[" * 40 + "]" * 40])
def test_a_body_that_is_nested_too_deep_is_refused_as_mlflow_refuses(client, deep):
    body = f'{{"experiment_id": "0", "unknown": {deep}}}'
    answer = client.post("runs/create", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    told = answer.json()
    assert told["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "nested too deep" in told["message"]
