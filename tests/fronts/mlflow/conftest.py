"""The server that answers are asked of."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def tracking_url():
    """Return the address of a tracking server of varv."""
    url = os.environ.get("VARV_TRACKING_URL")
    if not url:
        pytest.skip("VARV_TRACKING_URL names no tracking server")
    return url
