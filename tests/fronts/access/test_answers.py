"""What answers say beside their body: to browsers, and of deadlines and versions."""

from __future__ import annotations

import math

import pytest

from varv.fronts.access.cors import Origins
from varv.fronts.access.deadlines import deadline_of, sooner
from varv.fronts.access.deprecation import deprecation_headers
from varv.fronts.access.door import Door
from varv.kernel.errors import InvalidInput

SHOP = b"https://shop.example"


def test_only_named_sites_are_told_that_they_may():
    origins = Origins("https://Shop.example/, http://localhost:3000")
    assert dict(origins.headers(SHOP))["access-control-allow-origin"] == "https://shop.example"
    assert origins.headers(b"https://other.example") == origins.headers(None) == (("vary", "origin"),)
    assert origins.preflight(SHOP, None) is None
    assert origins.preflight(b"https://other.example", b"POST") is None
    told = dict(origins.preflight(SHOP, b"POST"))
    assert "authorization" in told["access-control-allow-headers"]
    assert told["access-control-allow-methods"] == "GET, POST"


def test_without_sites_nothing_is_said():
    assert not Origins()
    assert Origins().headers(SHOP) == ()
    assert Origins().preflight(SHOP, b"POST") is None


@pytest.mark.parametrize("text", ["*", "shop.example", "https://shop.example/page", "ftp://x", "null"])
def test_what_is_no_site_is_refused(text):
    with pytest.raises(InvalidInput, match="origin of a site"):
        Origins(text)


@pytest.mark.parametrize("given", [b"", b"-1", b"1.5", b"soon", b"9" * 10])
def test_what_is_no_time_is_refused(given):
    with pytest.raises(InvalidInput, match="whole milliseconds"):
        deadline_of(given, 0.0)


def test_a_deadline_only_comes_forward():
    assert sooner(2.0, 1.0, 500_000) == 1.5
    assert sooner(1.2, 1.0, 500_000) == 1.2
    assert sooner(math.inf, 1.0, 0) == math.inf
    assert deadline_of(b"0", 1.0) == 1.0


def test_the_first_protocol_names_its_successor():
    told = dict(deprecation_headers("/v1/models", 7))
    assert told == {"deprecation": "@7", "link": '</v2/models>; rel="successor-version"'}
    assert Door().headers("/v1/models", None) == ()
    assert Door(v1_deprecated_s=7).headers("/v2/models", None) == ()
    assert Door(v1_deprecated_s=7).headers("/v1/models", None) == tuple(told.items())
