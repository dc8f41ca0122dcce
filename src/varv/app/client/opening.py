"""`varv.open`: a home folder to be read. `varv status` and `varv why` read here too."""

from __future__ import annotations

from pathlib import Path

from varv.app.client.homes import ReadableHome
from varv.app.client.sources import LocalSource
from varv.app.server.server_file import running_server
from varv.app.settings import Settings
from varv.kernel.errors import InvalidInput, NotFound


def open_home(home: str | Path = ".varv") -> ReadableHome:
    """Return a home to be read: its models, data, decisions and why. Nothing is changed, and its server may
    run meanwhile.

    Parameters
    ----------
    home
        The folder.

    Raises
    ------
    NotFound
        If the folder holds no home.
    Corrupt
        If its ledger is not what was written.

    Examples
    --------
    ``with varv.open(".varv") as home: print(home.model("late-parcel").champion)``
    """
    if not isinstance(home, str | Path):
        raise InvalidInput("home", repr(home)[:60], "is no folder", hint='write varv.open(".varv")')
    folder = Path(home)
    if not (folder / "ledger.db").exists():
        hint = "give the folder that varv replay, varv up or varv.replay(home=...) has filled"
        raise NotFound("home", str(folder)[:200], "is not there, or holds no ledger", hint=hint)
    return reading(folder)


def reading(folder: Path) -> ReadableHome:
    """Return a home to be read, with the state of its server; as `open_home` does."""
    server = running_server(Settings(home=folder))
    state = "not running" if server is None else f"running, pid {server.pid}, {server.url}"
    return ReadableHome(LocalSource(folder, state=state))
