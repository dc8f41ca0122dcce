"""A server whose clients are declared: tokens, rates, and a table that changes while it runs."""

from __future__ import annotations

import pytest
from tests.app.changed_project import PARCEL
from tests.app.serving import Server, varv
from tests.app.test_changing import ran

import varv as package
from varv.fronts.access.clients import digest_of
from varv.kernel.errors import RateLimited, Unauthenticated

pytestmark = pytest.mark.slow


def table(**clients):
    """Return the text of a file in which each client has its own name as a token."""
    lines = (
        f'[clients.{name}]\ntoken = "{digest_of(name.encode())}"\n{more}\n' for name, more in clients.items()
    )
    return "".join(lines)


def status(server, name=None):
    headers = {} if name is None else {"authorization": f"Bearer {name}"}
    body = {"dataframe_records": [{"delivery_id": "d", **PARCEL}]}
    return server.inference.post("/invocations", json=body, headers=headers).status_code


def test_a_server_asks_for_tokens_and_reads_its_table_anew(served_project, tmp_path):
    project = served_project(tmp_path)
    file, home = project.parent / "varv.toml", project.parent / "home"
    file.write_text(table(shop="", meter='rate = "2/h"'))
    log = tmp_path / "log"
    server = Server(home, project, workers=1, training_nice=0, log=log)
    try:
        exercise(server, file, home)
    finally:
        ended = server.stop()
    assert ended == 0
    assert "Bearer" not in log.read_text()
    assert digest_of(b"shop") not in log.read_text()


def exercise(server, file, home):
    assert [status(server, name) for name in (None, "shop", "other")] == [401, 200, 401]
    assert server.inference.get("/v2/health/ready").status_code == 200
    assert [status(server, "meter") for _ in range(3)] == [200, 200, 429]
    told = server.control.get("/metrics").text
    assert 'varv_requests_turned_away_total{reason="rate",client="meter"} 1\n' in told
    assert 'varv_requests_turned_away_total{reason="unauthenticated",client=""} 2\n' in told
    url = str(server.control.base_url)
    with package.connect(url) as nobody, pytest.raises(Unauthenticated):
        nobody.predict("late-parcel", [PARCEL])
    with package.connect(url, inference_token="meter") as meter, pytest.raises(RateLimited):
        meter.predict("late-parcel", [PARCEL])
    with package.connect(url, inference_token="shop") as shop:
        assert shop.predict("late-parcel", [PARCEL]).height == 1
    assert ran(home, "apply") == (0, "nothing to do: the declaration is what is on record\n")
    file.write_text(table(other=""))
    code, text = ran(home, "apply")
    assert (code, "client shop may not ask any more" in text) == (0, True), text
    assert [status(server, name) for name in (None, "shop", "other")] == [401, 401, 200]
    file.write_text("[clients.other]")
    code, text = ran(home, "apply")
    assert code == 1
    assert status(server, "other") == 200
    file.unlink()
    code, text = ran(home, "apply")
    assert "requests need no token any more" in text, text
    assert status(server) == 200


def test_the_command_that_makes_a_token_needs_no_home(tmp_path):
    assert "[clients.shop]" in varv(tmp_path / "home", "token", "shop")
