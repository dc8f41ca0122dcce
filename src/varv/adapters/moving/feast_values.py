"""Values that a real Feast gives, by an interpreter that has it, from rows and a registry of data alone.

The registry that it is given has no function, service or stream of its author's, so it runs no code of the
repository. `feast_asking` is what it runs.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from varv.adapters.moving import feast_asking
from varv.adapters.moving.feast import FeastRepository
from varv.adapters.otlp.protobuf import sized
from varv.features.moving.messages import decoded
from varv.features.moving.registry import Item
from varv.kernel.errors import InvalidInput, NotFound, Unavailable
from varv.kernel.scratch import Scratch

WITHIN_S = 1800.0
_KEPT = frozenset({1, 3, 4, 5, 15, 17})
"""Entities, versions, times and projects."""
_VIEW = 6
_STORES = {"duckdb": "duckdb"}
"""Offline stores of files beside the usual one."""


class Asked(NamedTuple):
    """What is asked of one view: the features, as Feast names them, for requests."""

    view: str
    features: Sequence[str]
    requests: pl.DataFrame


def feast_values(
    repository: FeastRepository, python: str, asked: Sequence[Asked], variables: Mapping[str, str]
) -> list[pl.DataFrame]:
    """Return the values that Feast gives, a dataframe for each view.

    Parameters
    ----------
    python
        The interpreter of an environment with Feast.
    variables
        The environment that it runs in.

    Raises
    ------
    InvalidInput
        If the registry is a dump, of which no Feast can read.
    NotFound
        If there is no such interpreter.
    Unavailable
        If Feast fails, or takes too long.
    """
    if not repository.items:
        hint = "give the registry itself: its file or its database"
        raise InvalidInput("registry", "dump", "cannot be read by Feast", hint=hint)
    scratch = Scratch("feast")
    folder = scratch.path
    (folder / "registry.db").write_bytes(
        b"".join(sized(one.field, one.message) for one in _plain(repository.items, asked))
    )
    (folder / "feature_store.yaml").write_text(_configuration(repository, folder))
    views = []
    for number, one in enumerate(asked):
        one.requests.write_parquet(folder / f"requests-{number}.parquet")
        features = [f"{one.view}:{feature}" for feature in one.features]
        views.append(
            {
                "features": features,
                "requests": str(folder / f"requests-{number}.parquet"),
                "answers": str(folder / f"answers-{number}.parquet"),
            }
        )
    job = {
        "repository": str(repository.folder),
        "configuration": str(folder / "feature_store.yaml"),
        "views": views,
    }
    _run(python, msgspec.json.encode(job), repository.folder, variables)
    return [pl.read_parquet(folder / f"answers-{number}.parquet") for number in range(len(asked))]


def _plain(items: Sequence[Item], asked: Sequence[Asked]) -> list[Item]:
    """Return the part of a registry that names no code."""
    wanted = {one.view for one in asked}
    return [one for one in items if one.field in _KEPT or (one.field == _VIEW and _name(one) in wanted)]


def _name(item: Item) -> str:
    return decoded(item.message, "view", Counter()).get("spec", {}).get("name", "")


def _configuration(repository: FeastRepository, folder: Path) -> str:
    store = _STORES.get(repository.offline_store, "file")
    said = {
        "project": repository.registry.project,
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {"type": store},
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "entity_key_serialization_version": 3,
    }
    # What is JSON is YAML too.
    return msgspec.json.encode(said).decode()


def _run(python: str, job: bytes, folder: Path, variables: Mapping[str, str]) -> None:
    own = {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [python, "-W", "ignore", "-I", str(Path(feast_asking.__file__))]
    try:
        # Its DuckDB store reads relative paths from where it runs, and not from the repository.
        ended = subprocess.run(
            command, input=job, capture_output=True, timeout=WITHIN_S, env=own, cwd=folder, check=False
        )
    except OSError as error:
        hint = "give the interpreter of an environment with Feast"
        raise NotFound("interpreter", python, "cannot be run", why=error.strerror, hint=hint) from None
    except subprocess.TimeoutExpired:
        raise Unavailable("Feast", python, "took too long", limit_s=WITHIN_S) from None
    if ended.returncode:
        why = ended.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise Unavailable("Feast", python, "gave no values", why=" ".join(why)[-400:])
