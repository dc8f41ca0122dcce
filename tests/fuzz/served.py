"""A server in processes of its own, which nothing that is sent may harm."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil
from tests.app.serving import Server, eventually, varv

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
MOST_GROWTH = 256 << 20
"""Of the memory of a worker while it is fuzzed, the libraries that some requests load included."""
TOOLS = Path(__file__).parents[2] / ".venv-fuzz" / "bin"
"""Where `make fuzz` installs what has an environment of its own."""


class Fuzzed:
    """A server with one model and one worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where it is, and what is written for it."""
        varv(folder / "home", "init", str(folder))
        settings = {"workers": 1, "training_nice": 0, "grpc_port": 0}
        self.server = Server(folder / "home", folder / "deliveries.py", **settings)
        self.http = self.server.inference
        self.calls = f"127.0.0.1:{self.server.control.get('/health').json()['grpc_port']}"
        eventually(lambda: True if self.server.predict("first", **PARCEL).status_code == 200 else None)
        self._worker = self._process()
        self._memory = self._worker.memory_info().rss

    @property
    def url(self) -> str:
        """Where predictions are answered."""
        return str(self.http.base_url)

    def require_unharmed(self) -> None:
        """See that the same worker answers as ever, in about the same memory."""
        assert self.server.predict("after", **PARCEL).status_code == 200
        worker = self._process()
        assert worker.pid == self._worker.pid
        assert worker.memory_info().rss < self._memory + MOST_GROWTH

    def _process(self) -> psutil.Process:
        [pid] = self.server.control.get("/health").json()["workers"]
        return psutil.Process(pid)


def require_told(answer: httpx.Response) -> None:
    """See that an answer is one, or a refusal in the form of the protocols."""
    assert answer.status_code < 500 or answer.status_code in (503, 504), answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]
