"""Sources by their addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from varv.adapters.moving.artifact_folders import ArtifactFolders
from varv.adapters.moving.comet import open_comet
from varv.adapters.moving.database import open_database
from varv.adapters.moving.http_asking import PASSWORD, TOKEN, USER, Asking
from varv.adapters.moving.mlflow_database import MlflowDatabase
from varv.adapters.moving.mlflow_server import MlflowServer
from varv.adapters.moving.mlruns import MlrunsFolder
from varv.adapters.moving.neptune import open_neptune
from varv.adapters.moving.wandb import open_wandb
from varv.home.moving import Source
from varv.kernel.errors import NotFound

FOLDERS: Mapping[str, Callable[[Path], Source]] = {
    "comet": open_comet,
    "neptune": open_neptune,
    "wandb": open_wandb,
}
"""What reads the exports of other trackers, by their names."""


def open_mlflow(uri: str, variables: Mapping[str, str], artifacts: Path | None = None) -> Source:
    """Return the source of an address: a server, a database, or a folder.

    Parameters
    ----------
    uri
        ``http:``, ``https:``, ``sqlite:``, ``postgresql:``, ``file:`` or a path.
    variables
        The environment, which may hold the credentials of a server.
    artifacts
        A folder that artifacts may be read from, where the source does not say it itself.

    Raises
    ------
    InvalidInput
        If the address is none of these.
    NotFound
        If nothing is there.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme in ("http", "https"):
        basic = (variables[USER], variables.get(PASSWORD, "")) if variables.get(USER) else None
        return MlflowServer(Asking(uri, token=variables.get(TOKEN, ""), basic=basic))
    if scheme in ("", "file"):
        return MlrunsFolder(Path(unquote(urlsplit(uri).path) if scheme else uri), artifacts)
    database = open_database(uri)
    beside = Path(database.name.removeprefix("sqlite://")).parent if scheme == "sqlite" else None
    served = artifacts
    if served is None and beside is not None and (beside / "mlartifacts").is_dir():
        served = beside / "mlartifacts"  # where a server keeps them that was told nothing else
    roots = [] if beside is None else [beside / "mlruns"]
    return MlflowDatabase(database, ArtifactFolders(roots, served))


def open_folder(kind: str, folder: Path) -> Source:
    """Return the source that is an export of another tracker.

    Raises
    ------
    NotFound
        If it is not there, or holds no runs.
    """
    if not folder.is_dir():
        raise NotFound("folder", str(folder), hint="give the folder of the export")
    return FOLDERS[kind](folder)
