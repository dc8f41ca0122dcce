"""Clients of the data plane in ``varv.toml``, and the command that makes their tokens."""

from __future__ import annotations

import json

import pytest

from varv.app.cli import main
from varv.app.clients import changed_clients, clients_of, load_clients
from varv.app.settings import load_settings
from varv.fronts.access.clients import Client, digest_of
from varv.fronts.access.limits import Rate
from varv.kernel.errors import InvalidInput

DIGEST = digest_of(b"a token")


def declared(tmp_path, text):
    (tmp_path / "varv.toml").write_text(text)
    return load_clients(load_settings({}, environ={}, folder=tmp_path).file)


def test_a_file_declares_clients_beside_settings(tmp_path):
    [batch, shop] = declared(
        tmp_path,
        f"""
        workers = 2

        [clients.shop]
        token = "{DIGEST}"
        models = ["late-parcel"]
        roles = ["predict"]
        rate = "200/s"
        burst = 400
        quota = "1000000/d"
        priority = 9

        [clients.batch]
        token = "{DIGEST[::-1]}"
        """,
    )
    assert batch == Client(name="batch", token=DIGEST[::-1])
    assert shop == Client(
        name="shop",
        token=DIGEST,
        models=("late-parcel",),
        roles=("predict",),
        rate=Rate(200, 1, 400),
        quota=Rate(1_000_000, 86_400, 1_000_000),
        priority=9,
    )


def test_without_a_file_there_are_none(tmp_path):
    assert load_clients(load_settings({}, environ={}, folder=tmp_path).file) == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("clients = 1", r"write \[clients.NAME\]"),
        ("[clients]\nshop = 1", r"write \[clients.shop\]"),
        ("[clients.Shop]", "clients.Shop.*lower-case"),
        ("[clients.shop]", "clients.shop.token.*varv token shop"),
        ('[clients.shop]\ntoken = "secret"', "clients.shop.token.*varv token shop"),
        ('[clients.shop]\ntokn = "x"', "did you mean token"),
        ('models = "late"', 'clients.shop.models.*models = ."NAME".'),
        ("models = []", "clients.shop.models"),
        ('models = ["Late"]', "clients.shop.models.*lower-case"),
        ('roles = ["write"]', 'clients.shop.roles.*"predict", "read"'),
        ("rate = 200", 'clients.shop.rate.*"200/s"'),
        ('rate = "fast"', 'clients.shop.rate.*"200/s"'),
        ("burst = 5", "without a rate"),
        ('rate = "5/s"\nburst = 0', "clients.shop.burst.*from 1"),
        ("priority = 10", "clients.shop.priority.*from 0 to 9"),
        ("priority = true", "clients.shop.priority.*from 0 to 9"),
        (f'[clients.other]\ntoken = "{DIGEST}"', "is that of other too"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_file_the_key_and_what_to_write(tmp_path, text, problem):
    if "clients" not in text or "other" in text:
        text = f'[clients.shop]\ntoken = "{DIGEST}"\n{text}'
    with pytest.raises(InvalidInput, match=problem) as caught:
        declared(tmp_path, text)
    assert "secret" not in str(caught.value)
    assert DIGEST not in str(caught.value)
    assert "varv.toml" in str(caught.value)


def test_what_changed_is_told():
    shop, other = (Client(name=name, token=DIGEST) for name in ("shop", "other"))
    lesser = Client(name="shop", token=DIGEST, roles=("read",))
    assert changed_clients((shop,), (shop,)) == ()
    assert changed_clients((), (shop,)) == (
        "client shop may ask from now on",
        "requests need a token from now on",
    )
    assert changed_clients((shop, other), (lesser,)) == (
        "client other may not ask any more",
        "client shop has other rights, or another token",
    )
    assert changed_clients((shop,), ())[-1] == "requests need no token any more"


def test_a_token_is_shown_once_with_the_lines_to_paste(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["token", "shop", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    (tmp_path / "varv.toml").write_text("\n".join(made["lines"]))
    [shop] = load_clients(load_settings({}, environ={}).file)
    assert (shop.name, shop.token) == ("shop", digest_of(made["token"].encode()))
    assert main(["token", "shop"]) == 0
    told = capsys.readouterr().out
    assert made["token"] not in told
    assert "[clients.shop]" in told
    assert main(["token", "Not A Name"]) == 1


def test_names_are_in_the_order_of_the_alphabet():
    table = {name: {"token": digest_of(name.encode())} for name in ("b", "a")}
    assert [one.name for one in clients_of(table, "varv.toml")] == ["a", "b"]
