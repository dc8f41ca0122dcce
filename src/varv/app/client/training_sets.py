"""`varv.training_set`: requests with the features that were known at each of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import polars as pl

from varv.app.compose import open_ledger, open_views
from varv.data import Dataset, Datasets, Frame, Parquet
from varv.data.delta.publishing import Publications
from varv.data.sources import in_kept_types, kept_type
from varv.data.sources.pointers import resolved
from varv.data.versioning.references import parse_reference, version_meant
from varv.data.views import registered_dataset
from varv.features.bulk import (
    Mode,
    SourceTables,
    StoredTables,
    Tables,
    TrainingSetMaker,
    TrainingSets,
    features_for,
    recipe_of,
    requests_of,
)
from varv.features.model import Feature, FeatureView
from varv.kernel.clock import SystemClock
from varv.kernel.codec import digest_of
from varv.kernel.columns import FolderColumns
from varv.kernel.content import rows_digest
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.scratch import Scratch
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.storage import storing
from varv.kernel.views import Views

_REFERENCE = re.compile(r"[a-z0-9_-]+(?:@.+)?")


class _Asked(NamedTuple):
    """Requests: against what features are checked, when each is made, their columns, and their rows."""

    dataset: Dataset
    at: str
    columns: pl.Schema
    rows: Iterable[pl.DataFrame]


def training_set(
    requests: object,
    features: Sequence[Feature],
    *,
    at: str | None = None,
    mode: Mode = "known",
    to: str | Path | None = None,
    home: str | Path | None = None,
    name: str | None = None,
    versions: Mapping[str, int] | None = None,
    most_bytes: int | None = None,
) -> pl.DataFrame | Path:
    """Return requests with the features that were known at each of them: a row for each request, in their
    order.

    Parameters
    ----------
    requests
        A dataframe of polars or pandas or an Arrow table, the path of Parquet files, or a `varv.Dataset`; of
        a home also the name of a dataset, ``"flights"``, ``"flights@12"``, of a tag or a time. Those of a
        dataset see its rows of before their own instant.
    features
        As for a model: columns of the requests, `varv.derived` and `varv.FeatureView`.
    at
        The column with the time of each request; that of the dataset by default.
    mode
        ``"known"``: a row counts from when it became known. ``"event"``: from when it happened, though nobody
        knew it yet; a model that is trained so has seen what it will not see when it serves.
    to
        Write it to this Parquet file, and return its path: for what does not fit into memory.
    home
        The folder of a home that no server runs in. Rows of views are read as they are stored there, and the
        training set becomes a dataset of it.
    name
        Of that dataset.
    versions
        As of which version datasets of the home are read; the latest by default.
    most_bytes
        Of memory that is used, about; a quarter of the machine's by default, 256 MiB at least.

    Returns
    -------
    pl.DataFrame
        The columns of the requests as they are, and the features: ``view__feature`` and the names of derived
        ones, numbers as Float32, texts as String; null where nothing was known.

    Raises
    ------
    InvalidInput
        If requests are none of these, or lack a column; or the mode does not exist.
    InvalidDeclaration
        If the features do not fit the datasets, or one would leak.
    NotFound
        If a file, home, dataset or version is not there.
    AlreadyExists
        If the name is that of a training set with another recipe.

    Examples
    --------
    >>> import datetime as dt, varv
    >>> day = lambda n: dt.datetime(2026, 1, n)
    >>> paid = pl.DataFrame({"id": [1, 2], "shop": ["a", "a"], "at": [day(1), day(3)], "sum": [5.0, 7.0]})
    >>> sales = varv.Dataset("sales", source=varv.Frame(paid), key="id", event_time="at")
    >>> last = varv.FeatureView("last", source=sales, entity="shop", features=["sum"])
    >>> asked = pl.DataFrame({"shop": ["a", "a", "b"], "at": [day(2), day(3), day(3)]})
    >>> varv.training_set(asked, [last], at="at")["last__sum"].to_list()
    [5.0, 7.0, None]
    """
    wanted = _Wanted(tuple(features), mode, most_bytes)
    target = None if to is None else Path(to)
    if home is not None:
        if name is None:
            hint = "name the dataset that it becomes: name='late-2013'"
            raise InvalidInput("training set", "", "has no name", hint=hint)
        return _of_home(Path(home), name, wanted, requests, at, versions or {}, target)
    if name is not None or versions is not None:
        argument = "versions" if name is None else "name"
        raise InvalidInput("argument", argument, "has no meaning without a home", hint="give home= as well")
    asked = _without_home(requests, at)
    maker = wanted.maker(asked, SourceTables())
    return _given(maker.parts(asked.rows), maker.types(asked.columns), target)


class _Wanted(NamedTuple):
    """What is wanted of requests."""

    features: tuple[Feature, ...]
    mode: Mode
    most_bytes: int | None

    def maker(self, asked: _Asked, tables: Tables) -> TrainingSetMaker:
        """Return what adds it to requests."""
        checked = features_for(self.features, asked.dataset)
        return TrainingSetMaker(checked, asked.at, tables, mode=self.mode, most_bytes=self.most_bytes)


def _without_home(requests: object, at: str | None) -> _Asked:
    """Return requests of a dataframe, of files, or of the source of a dataset."""
    if isinstance(requests, Dataset):
        names = list(requests.types())
        rows = (in_kept_types(part).select(names) for part in requests.source.batches())
        return _Asked(requests, at or requests.event_time, pl.Schema(requests.types()), rows)
    if isinstance(requests, str | Path):
        source = Parquet(str(requests))
        return _plain(pl.Schema(source.types()), source.batches(), at)
    try:
        frame = Frame(requests).load()
    except InvalidDeclaration:
        hint = "give a dataframe, an Arrow table, the path of a Parquet file or a varv.Dataset"
        raise InvalidInput("requests", type(requests).__name__, "hold no rows", hint=hint) from None
    return _plain(frame.schema, [frame], at)


def _plain(columns: pl.Schema, rows: Iterable[pl.DataFrame], at: str | None) -> _Asked:
    dataset = requests_of(columns, at or "")
    return _Asked(dataset, dataset.event_time, columns, rows)


def _of_home(
    home: Path,
    name: str,
    wanted: _Wanted,
    requests: object,
    at: str | None,
    versions: Mapping[str, int],
    target: Path | None,
) -> pl.DataFrame | Path:
    """Return a training set that is a dataset of a home, made if it is not there."""
    if not (home / "ledger.db").exists():
        hint = "give the folder that varv replay, varv up or varv.replay(home=...) has filled"
        raise NotFound("home", str(home)[:200], "is not there, or holds no ledger", hint=hint)
    with closing(open_ledger(home)) as ledger:
        views, clock = open_views(ledger, home), SystemClock()
        columns = FolderColumns(home / "columns")
        datasets = Datasets(ledger, columns, clock, views, Secret(home / SECRET_FILE))
        publications = Publications(datasets, columns, views, ledger, clock)
        asked, said = _stored(ledger, datasets, publications, views, requests, at, versions)
        read = {view.source.name: view.source for view in wanted.features if isinstance(view, FeatureView)}
        pinned = {one.name: _version(datasets, views, one, versions) for one in read.values()}
        maker = wanted.maker(asked, StoredTables(datasets, pinned))
        sets, types = TrainingSets(ledger, datasets), maker.types(asked.columns)
        recipe = recipe_of(maker.features, said, asked.at, pinned, wanted.mode)
        if not sets.has(name, recipe):
            for dataset in read.values():
                publications.publish_used(dataset, pinned[dataset.name])
            sets.make(name, recipe, maker.parts(asked.rows))
        return _given(
            sets.rows(name, recipe, types), in_kept_types(pl.DataFrame(schema=types)).schema, target
        )


def _stored(
    ledger: Ledger,
    datasets: Datasets,
    publications: Publications,
    views: Views,
    requests: object,
    at: str | None,
    versions: Mapping[str, int],
) -> tuple[_Asked, str]:
    """Return requests, of a home or not, and what tells them from all others."""
    chosen = dict(versions)
    if isinstance(requests, str) and not requests.endswith(".parquet") and _REFERENCE.fullmatch(requests):
        reference = parse_reference(requests)
        requests = registered_dataset(views, reference.dataset)
        if "@" in str(reference):
            chosen[requests.name] = version_meant(reference, views, ledger)
    if not isinstance(requests, Dataset):
        asked = _without_home(requests, at)
        return asked, _digest(requests, asked)
    version = _version(datasets, views, requests, chosen)
    publications.publish_used(requests, version)
    rows = datasets.read(requests, version=version)
    return _Asked(requests, at or requests.event_time, rows.schema, [rows]), f"{requests.name}@{version}"


def _version(datasets: Datasets, views: Views, dataset: Dataset, versions: Mapping[str, int]) -> Version:
    """Return as of which version a dataset of a home is read."""
    registered_dataset(views, dataset.name)
    datasets.register(dataset)
    return Version(versions.get(dataset.name, datasets.version(dataset)))


def _digest(requests: object, asked: _Asked) -> str:
    """Return what tells requests that no home keeps from all others."""
    if not isinstance(requests, str | Path):
        kept = [name for name, dtype in asked.columns.items() if kept_type(dtype) is not None]
        return f"rows:{digest_of([rows_digest(in_kept_types(part.select(kept))) for part in asked.rows])}"
    found = hashlib.sha256()
    for path in _files(str(requests)):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return f"files:{found.hexdigest()}"


def _files(pattern: str) -> list[Path]:
    """Return the files that a pattern stands for, in their order."""
    if (pointed := resolved(pattern)) is not None:
        return pointed
    path = Path(pattern)
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if one.is_file())
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _given(
    parts: Iterator[pl.DataFrame], types: Mapping[str, pl.DataType], target: Path | None
) -> pl.DataFrame | Path:
    """Return parts as one dataframe, or write them to a file."""
    none = pl.DataFrame(schema=types)
    if target is None:
        return pl.concat([none, *parts])
    folder = Scratch("training-set")
    files = []
    for number, part in enumerate(parts):
        files.append(folder.path / f"{number:06d}.parquet")
        part.write_parquet(files[-1], compression="lz4")
    draft = target.with_name(f".{target.name}.draft")
    with storing("training set", target, draft=draft):
        rows = pl.scan_parquet(files, glob=False) if files else none.lazy()
        rows.sink_parquet(draft, compression="zstd", maintain_order=True)
        draft.replace(target)
    return target
