"""Profiles of the rows that versions of models were trained on: features as they were served, and outcomes.

Made when a version is trained, since its rows are in memory then, and kept beside the profiles of datasets.
They follow from rows: an erasure removes them with the others, and whoever deletes them loses what the page
of the version shows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from varv.data.profiling.keeping import FOLDER, KEPT, read_kept, write_kept
from varv.kernel.observe import log
from varv.profiles import Profile, profile_of
from varv.profiles.profile import FORMAT, is_counted_only
from varv.profiles.reading import ProfileRead, read

OUTCOME = "outcome"
"""The column of outcomes, whatever it is called in a dataset."""
_MODELS = "@models"
"""No dataset has this name."""
_LOG = logging.getLogger(__name__)


def keep_training(home: Path, model: str, version: int, rows: Iterable[pl.DataFrame]) -> None:
    """Keep the profile of the rows that a version was trained on, and of the fifteen before it.

    A version is not given up for a page: what hinders the file is logged.
    """
    place = _place(home, model, version)
    try:
        write_kept(place, profile_of(rows))
        for old in trained_versions(home, model)[:-KEPT]:
            _place(home, model, old).unlink(missing_ok=True)
    except OSError as error:
        log(_LOG, logging.WARNING, "model.profile_not_kept", model=model, version=version, why=str(error))


def trained_versions(home: Path, model: str) -> list[int]:
    """Return the versions of a model of which profiles are kept, the least first."""
    files = (home / FOLDER / _MODELS / model).glob(f"*.{FORMAT}.profile")
    return sorted(int(one.name.partition(".")[0]) for one in files)


def training_profile(home: Path, model: str, version: int) -> Profile | None:
    """Return the profile of the rows that a version was trained on; None if none is kept."""
    return read_kept(_place(home, model, version))


def read_training(profile: Profile) -> ProfileRead:
    """Return a profile of training data in numbers, with how much each column tells about the outcome where
    values of it are kept.
    """
    tells = any(one.name == OUTCOME and not is_counted_only(one) for one in profile.scale.columns)
    return read(profile, outcome=OUTCOME if tells else "")


def _place(home: Path, model: str, version: int) -> Path:
    return home / FOLDER / _MODELS / model / f"{version}.{FORMAT}.profile"
