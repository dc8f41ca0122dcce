"""Which variables a job sees."""

from __future__ import annotations

import pytest

from varv.adapters.jobs.environment import repeatable, without_secrets


@pytest.mark.parametrize(
    "name",
    [
        "VARV_TOKEN",
        "VARV_HOME",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "PGPASSWORD",
        "DB_PASS",
        "OPENAI_API_KEY",
        "apikey",
        "SSH_AUTH_SOCK",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SENTRY_DSN",
        "AZURE_DEVOPS_EXT_PAT",
    ],
)
def test_what_is_named_like_a_secret_is_not_passed_on(name):
    assert without_secrets({name: "x"}) == {}
    assert without_secrets({name: "x"}, keep=[name]) == {name: "x"}


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "KEYBOARD", "CDPATH", "OMP_NUM_THREADS", "AUTHOR"])
def test_what_is_not_named_like_a_secret_is_passed_on(name):
    assert without_secrets({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("value", ["postgresql://ana:pw@db/x", "-----BEGIN EC PRIVATE KEY-----\nx"])
def test_what_looks_like_a_secret_is_not_passed_on(value):
    assert without_secrets({"PLAIN": value}) == {}


def test_an_address_without_a_password_is_passed_on():
    assert without_secrets({"URL": "http://db:5432/x@y:z"}) == {"URL": "http://db:5432/x@y:z"}


def test_threads_are_set_only_if_asked():
    assert repeatable(None) == {"PYTHONHASHSEED": "0"}
    assert repeatable(2)["OMP_NUM_THREADS"] == repeatable(2)["POLARS_MAX_THREADS"] == "2"
