"""The pages on which people label: nothing is leased by looking, and forms do what they say."""

from __future__ import annotations

import re

import pytest
from tests.fronts.asking import asking
from tests.home.labelling.labelled_home import Labelled, M

from varv.fronts.web.console import create_console
from varv.fronts.web.labelling import LabelDesk
from varv.kernel.errors import PermissionDenied


def refused(request):
    raise PermissionDenied("client", "ana", "may not use this", hint="")


@pytest.fixture
def pages(lived, tmp_path):
    lived(tmp_path).close()
    home = Labelled(tmp_path, n=20)

    def client(**allowed):
        desk = LabelDesk(
            **({"labelling": lambda: home.labelling, "allow": lambda _: None} | allowed),
            **({} if "allow_writing" in allowed else {"allow_writing": lambda _: None}),
        )
        console = create_console(home.home.views, home.home.ledger, labels=desk)
        browser = asking(console)
        browser.follow_redirects = True
        return browser

    yield client
    home.close()


def asked(page):
    found = re.search(r'name="key" value="([^"]+)"', page.text)
    return found and found[1]


def test_one_request_after_the_other_is_taken_and_labelled(pages):
    client = pages()
    assert f'href="/labels/{M}"' in client.get("/labels").text
    first = client.get(f"/labels/{M}", params={"by": "ana"})
    assert asked(first) is None
    assert "script-src 'self'" in first.headers["content-security-policy"]

    def act(**fields):
        return client.post(f"/labels/{M}", data={"by": "ana", **fields})

    taken = act(act="take")
    assert str(taken.url).endswith("?by=ana")
    assert asked(client.get(f"/labels/{M}", params={"by": "ana"})) == asked(taken)
    assert asked(client.get(f"/labels/{M}", params={"by": "bo"})) is None
    keys = [asked(taken)]
    for fields in ({"act": "give", "value": "1"}, {"act": ["give", "none"]}, {"act": ["give", "return"]}):
        keys.append(asked(act(key=keys[-1], **fields)))
    assert len(set(keys)) == 4
    page = client.get(f"/labels/{M}").text
    assert "1 labelled, 1 without an outcome" in page
    assert "1 by ana" in page


def test_what_is_refused_is_told_on_the_page(pages):
    client = pages()
    key = asked(client.post(f"/labels/{M}", data={"by": "ana", "act": "take"}))
    wrong = client.post(f"/labels/{M}", data={"by": "ana", "act": "give", "key": key, "value": "7"})
    assert (wrong.status_code, asked(wrong)) == (400, key)
    assert "is no late" in wrong.text
    assert client.get("/labels/nobody").status_code == 404
    other = client.post(f"/labels/{M}", data={"by": "ana"}, headers={"origin": "http://evil.example"})
    assert other.status_code == 403


def test_who_may_not_read_or_write_is_refused(pages):
    assert pages(allow=refused).get(f"/labels/{M}").status_code == 403
    client = pages(allow_writing=refused)
    assert client.get(f"/labels/{M}").status_code == 200
    assert client.post(f"/labels/{M}", data={"by": "ana"}).status_code == 403
