"""A server of S3, and what is put there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from tests.data.sources.servers import free_port


class S3:
    """A server with one bucket, ``lake``; its key is the variable ``VARV_TEST_SECRET``."""

    def __init__(self, port: int) -> None:
        import httpx
        import obstore

        endpoint = f"http://127.0.0.1:{port}"
        common = {"endpoint": endpoint, "region": "us-east-1"}
        names = ("access_key_id", "secret_access_key")
        self.options = {**common, **dict.fromkeys(names, "${VARV_TEST_SECRET}")}
        httpx.put(f"{endpoint}/lake").raise_for_status()
        config = {**common, **dict.fromkeys(names, "hunter2")}
        self._store = obstore.store.from_url("s3://lake", config=config, client_options={"allow_http": True})

    def put(self, name: str, content: str) -> None:
        import obstore

        obstore.put(self._store, name, content.encode())

    def delete(self, name: str) -> None:
        import obstore

        obstore.delete(self._store, name)


@contextmanager
def s3() -> Iterator[S3]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=free_port(), verbose=False)
    server.start()
    try:
        with patch.dict(os.environ, {"VARV_TEST_SECRET": "hunter2"}):
            yield S3(server.get_host_and_port()[1])
    finally:
        server.stop()
