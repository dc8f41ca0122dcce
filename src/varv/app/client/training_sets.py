"""`varv.training_set`: requests with the features that were known at each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from varv.app.client.home_training_sets import Wanted, of_home
from varv.app.client.requests import without_home
from varv.features.bulk import Mode, SourceTables, TrainingSetMaker, features_for
from varv.features.model import Feature
from varv.kernel.errors import InvalidInput
from varv.kernel.scratch import Scratch
from varv.kernel.storage import storing


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
        The folder of a home; its server may run meanwhile. Rows of views are read as they are stored there,
        and the training set becomes a dataset of it.
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
    target = None if to is None else Path(to)
    if home is not None:
        if name is None:
            hint = "name the dataset that it becomes: name='late-2013'"
            raise InvalidInput("training set", "", "has no name", hint=hint)
        wanted = Wanted(requests, at, tuple(features), mode, versions or {}, most_bytes)
        types, parts = of_home(Path(home), name, wanted)
        return _given(parts, types, target)
    if name is not None or versions is not None:
        argument = "versions" if name is None else "name"
        raise InvalidInput("argument", argument, "has no meaning without a home", hint="give home= as well")
    asked = without_home(requests, at)
    checked = features_for(features, asked.dataset)
    maker = TrainingSetMaker(checked, asked.at, SourceTables(), mode=mode, most_bytes=most_bytes)
    return _given(maker.parts(asked.rows), maker.types(asked.columns), target)


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
