"""`varv export` writes what a home serves."""

from __future__ import annotations

import json

import pytest
import yaml

from varv.app.cli.parser import main


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "home"
    lived(folder).close()
    (folder.parent / "varv.toml").write_text('inference_port = 9480\nallowed_hosts = "models.example.org"\n')
    return folder


def told(capsys, home, *arguments):
    status = main(["--home", str(home), "export", *arguments])
    found = capsys.readouterr()
    return status, found.out, found.err


@pytest.mark.parametrize("target", ["envoy", "kong", "gateway-api", "istio"])
def test_the_models_of_a_home_are_written(capsys, home, target):
    status, out, _ = told(capsys, home, target, "--hostname", "models.example.org")
    documents = list(yaml.safe_load_all(out))
    assert (status, len(documents) > 0) == (0, True)
    assert "/v2/models/late" in out
    assert "# Every request goes to varv" in out
    assert "allowed_hosts" not in out
    # What is not said is as the home's settings say, and a Service in a cluster.
    assert "9480" in out
    assert ("127.0.0.1" in out) == (target in ("envoy", "kong"))


def test_a_file_and_json_hold_the_same(capsys, home, tmp_path):
    place = tmp_path / "varv.yaml"
    upstreams = ("--upstream", "https://blue:8480=80", "--upstream", "https://green:8480=20")
    assert told(capsys, home, "istio", *upstreams, "--to", str(place)) == (0, "", "")
    _, out, _ = told(capsys, home, "istio", *upstreams, "--json")
    assert json.loads(out)["documents"] == list(yaml.safe_load_all(place.read_text()))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["envoy", "--grpc-port", "0"], "chosen anew"),
        (["envoy", "--upstream", "blue"], "not understood"),
        (["envoy", "--to", "/nowhere/at/all"], "cannot be written"),
        (["nginx"], "invalid choice"),
        (["envoy", "--timeout", "0"], "'--timeout' is not valid"),
        (["envoy", "--listen", "70000"], "'--listen' is not valid"),
    ],
)
def test_what_cannot_be_written_is_refused(capsys, home, arguments, problem):
    status, out, error = told(capsys, home, *arguments)
    assert (status > 0, out) == (True, "")
    assert problem in error


def test_a_home_without_models_says_what_to_do(capsys, tmp_path):
    status, _, error = told(capsys, tmp_path / "none", "envoy")
    assert status == 1
    assert "next:" in error
