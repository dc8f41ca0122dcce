"""`varv data training-set`: requests with what was known at each of them, as a dataset of the home."""

from __future__ import annotations

import argparse
from pathlib import Path

from varv.app.cli.access import acted, answer
from varv.app.cli.rendering import Grid, Line
from varv.app.cli.row_files import KINDS, kind_of
from varv.app.settings import Settings
from varv.data import Csv, JsonLines, Parquet
from varv.data.sources import in_kept_types
from varv.data.versioning.staging import stage
from varv.home.training_sets import TrainingSetKept, TrainingSetRequest, make
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.wording import count

_SOURCES = {".csv": Csv, ".parquet": Parquet, ".jsonl": JsonLines}


def make_training_set(options: argparse.Namespace, settings: Settings) -> None:
    """Make a training set, by the server of the home where one runs."""
    asked = TrainingSetRequest(
        name=options.name,
        **_requests(options.what, settings),
        at=options.at,
        features=tuple(name for one in options.features for name in one.split(",") if name),
        mode=options.mode,
        versions=dict(map(_pinned, options.version)),
    )
    found = acted(settings, "dataset.training_set", asked, make, TrainingSetKept)
    recipe = found.recipe
    state = "made" if found.is_new else "was there already"
    n = len(recipe.features)
    of = f"{count(n)} feature{'' if n == 1 else 's'} of {recipe.requests}"
    head = f"{found.dataset}: {count(found.n_rows)} rows, {of}, by {recipe.mode} time; {state}"
    versions = [(name, str(version)) for name, version in recipe.datasets.items()]
    answer(options, found, lambda: [Line(head), Grid(("read", "version"), versions)])


def _requests(what: str, settings: Settings) -> dict[str, str]:
    """Return the requests as a request to the home names them: a version of its own, or rows that are put
    there.
    """
    path = Path(what)
    if path.suffix not in KINDS:
        return {"requests": what}
    if not path.is_file():
        raise NotFound("file", what[:200])
    rows = in_kept_types(_SOURCES[kind_of(path)](what).load())
    return {"staged": stage(settings.home, rows)}


def _pinned(text: str) -> tuple[str, int]:
    name, _, version = text.partition("@")
    if not version.isdecimal():
        hint = "write --version weather@40"
        raise InvalidInput("option", "--version", "is no version of a dataset", given=text[:80], hint=hint)
    return name, int(version)
