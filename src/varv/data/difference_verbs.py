"""The use case that compares two versions of a dataset: columns, rows by key, and profiles if asked for.

Rows cost what changed between the versions. A profile costs all rows of a version that has none yet, so it
is made when it is asked for, and kept.
"""

from __future__ import annotations

import msgspec

from varv.data.profiling.keeping import Profiles
from varv.data.versioning.difference import Difference, PartDifference, difference
from varv.data.versioning.references import Reference, parse_reference
from varv.data.versioning.verbs import VersionsDesk
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import EXPORT, verb
from varv.profiles.difference import profile_difference

MOST_SHOWN = 1000
"""Rows of one answer."""


class DiffRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names two versions of one dataset, and says how many of the rows that differ to show, and whether to
    compare their profiles.
    """

    before: str
    after: str = ""
    """The last version of the dataset if it is left out."""
    rows: int = 0
    profile: bool = False


@verb("dataset.diff", needs=EXPORT)
def diff(desk: VersionsDesk, request: DiffRequest) -> Difference:
    """Compare two versions of a dataset: columns, rows by key, and what moved in their profiles.

    Raises
    ------
    InvalidInput
        If the versions are of two datasets, or more rows are asked for than an answer holds.
    NotFound
        If there is no such dataset or version.
    Expired
        If the files of a version were removed.
    """
    if not 0 <= request.rows <= MOST_SHOWN:
        raise InvalidInput("rows", request.rows, "is not a number of rows", hint=f"{MOST_SHOWN} at most")
    before = parse_reference(request.before)
    after = parse_reference(request.after) if request.after else Reference(before.dataset)
    if before.dataset != after.dataset:
        hint = "compare versions of one dataset"
        raise InvalidInput("reference", str(after), f"is of another dataset than {before}", hint=hint)
    versions = desk.version(before), desk.version(after)
    dataset = desk.datasets.registered(before.dataset)
    found = difference(desk.datasets, dataset, *versions, most_rows=request.rows)
    if not request.profile:
        return found
    profiles = Profiles(desk.datasets, desk.home)

    def with_profile(one: PartDifference) -> PartDifference:
        # The earlier one first: the later one then reads only what came since.
        made = {version: profiles.of_version(dataset, one.part, version) for version in sorted(versions)}
        return msgspec.structs.replace(one, profile=profile_difference(*(made[each] for each in versions)))

    return msgspec.structs.replace(found, parts=tuple(map(with_profile, found.parts)))
