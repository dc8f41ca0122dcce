"""The use case of derived datasets: rows that were made from versions of others become a version, with what
they were made from on record in the same change.
"""

from __future__ import annotations

import msgspec
import polars as pl

from varv.data.dataset import Dataset
from varv.data.rewriting.files import Rewritten
from varv.data.sources import Frame, in_kept_types
from varv.data.versioning.staging import staged_rows, unstage
from varv.data.versioning.verbs import RewriteDone, VersionsDesk
from varv.data.versions.model import DatasetDerived
from varv.kernel.ids import DatasetName
from varv.kernel.verbs import OPERATE, verb


class DeriveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names the dataset that rows become a version of, its key and times, the rows as they were staged in the
    home, and the versions and the run that they were made from.
    """

    dataset: str
    key: tuple[str, ...]
    event_time: str
    known_at: dict[str, tuple[str, ...]] = {}
    staged: str
    made_from: dict[str, int]
    run: str = ""
    step: str = ""
    by: str = "pipeline"


@verb("dataset.derive", needs=OPERATE)
def derive(desk: VersionsDesk, request: DeriveRequest) -> RewriteDone:
    """Put rows that were made from versions of datasets in the place of all that another one holds."""
    rows = in_kept_types(staged_rows(desk.home, request.staged))
    try:
        dataset = Dataset(
            request.dataset,
            source=Frame(rows.clear()),
            key=request.key,
            event_time=request.event_time,
            known_at=request.known_at,
        )
        desk.datasets.commit(desk.datasets.register(dataset))
        found = [_put(desk, dataset, part, rows, request) for part in dataset.parts]
    finally:
        unstage(desk.home, request.staged)
    return RewriteDone(
        dataset=request.dataset,
        version=found[-1].version,
        n_new=found[0].n_new,
        n_changed=sum(one.n_changed for one in found),
        n_lost=found[0].n_lost,
        n_unchanged=found[0].n_unchanged,
        flows=desk.flows,
    )


def _put(
    desk: VersionsDesk, dataset: Dataset, part: str, rows: pl.DataFrame, request: DeriveRequest
) -> Rewritten:
    said = dataset.part(rows, part)
    derived = DatasetDerived(
        dataset=DatasetName(dataset.name),
        part=part,
        made_from=request.made_from,
        run=request.run,
        step=request.step,
    )
    why = "made from " + ", ".join(f"{name}@{version}" for name, version in sorted(request.made_from.items()))
    overwrite = desk.datasets.overwrite
    return desk.rewrite(
        dataset.name,
        lambda: overwrite(dataset, part, said, by=request.by, why=why, also=(derived,)),
    )
