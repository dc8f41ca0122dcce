"""References to versions: ``flights``, ``flights@12``, ``flights@tag``, ``flights@2013-05-01T00:00Z``."""

from __future__ import annotations

import re

import msgspec

from varv.data.versions import versions_of
from varv.data.views import DatasetsView
from varv.kernel.clock import Instant, instant, iso
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views

TAG = re.compile(r"[a-z][a-z0-9._-]{0,62}")
"""Begins with a letter, so that it is neither a number nor a time."""
_NUMBER = re.compile(r"\d{1,15}")


class Reference(msgspec.Struct, frozen=True):
    """A version of a dataset as it was written: a number, a tag, an instant, or nothing for the last."""

    dataset: str
    version: int | None = None
    tag: str = ""
    at: Instant | None = None

    def __str__(self) -> str:
        given = self.tag or ("" if self.version is None else str(self.version))
        given = given or ("" if self.at is None else iso(self.at))
        return f"{self.dataset}@{given}" if given else self.dataset


def parse_reference(text: str) -> Reference:
    """Return what a reference names.

    Raises
    ------
    InvalidInput
        If what follows the ``@`` is no version, tag or time.

    Examples
    --------
    >>> parse_reference("flights@12").version, parse_reference("flights@before-audit").tag
    (12, 'before-audit')
    >>> str(parse_reference("flights@2013-05-01"))
    'flights@2013-05-01T00:00:00Z'
    """
    dataset, mark, given = text.partition("@")
    if not mark:
        return Reference(dataset)
    if _NUMBER.fullmatch(given):
        return Reference(dataset, version=int(given))
    if TAG.fullmatch(given):
        return Reference(dataset, tag=given)
    try:
        return Reference(dataset, at=instant(given))
    except InvalidInput:
        hint = "write NAME@12, NAME@tag or NAME@2013-05-01T00:00Z"
        raise InvalidInput("reference", text[:120], "names no version", hint=hint) from None


def version_meant(reference: Reference, views: Views, ledger: Ledger) -> Version:
    """Return the version that a reference means: of a time, the last one that had come by then, by the time
    of the ledger.

    Raises
    ------
    NotFound
        If there is no such dataset, version or tag, or no version had come by that time.
    """
    name = reference.dataset
    with views.reading(DatasetsView) as view:
        if view.registered(name) is None:
            hint = f"the datasets are {', '.join(one.dataset for one in view.datasets()) or 'none'}"
            raise NotFound("dataset", name[:80], "is not registered", hint=hint)
        history, last = view.history(name), view.version(name)
        tagged = history.tags.get(reference.tag)
        tags = ", ".join(sorted(history.tags))
        mark = None if reference.at is None else history.mark_before(reference.at)
        newest = history.last
    if reference.tag:
        if tagged is None:
            raise NotFound("tag", str(reference), hint=f"the tags of {name} are {tags or 'none'}")
        return tagged.version
    if reference.version is not None:
        if not 0 <= reference.version <= last:
            raise NotFound("dataset", name, f"has no version {reference.version}", hint=f"the last is {last}")
        return Version(reference.version)
    if reference.at is None:
        return last
    if mark is None:
        raise NotFound("dataset", name, f"had no version by {iso(reference.at)}", hint="give a later time")
    if newest is not None and newest.at <= reference.at:
        return last
    found = mark.version
    for _, version in versions_of(ledger, name, after=mark.place, version=mark.version):
        if version.at > reference.at:
            break
        found = version.version
    return found
