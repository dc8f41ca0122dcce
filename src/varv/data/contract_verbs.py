"""The use cases of contracts: what is expected of a dataset, and the contracts of other tools."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from varv.data.contracts.words import in_words, rule_reason
from varv.data.dataset import Dataset
from varv.data.moving.declaration import in_code
from varv.data.moving.pandera_reading import read_pandera
from varv.data.moving.pandera_writing import write_pandera
from varv.data.moving.suite_reading import read_suite
from varv.data.moving.suite_writing import write_suite
from varv.data.moving.translation import LeftOut, Shape, Translated, Written, read_document
from varv.data.registered import registered_dataset
from varv.data.views import DatasetsView
from varv.kernel.clock import iso
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import READ, verb
from varv.kernel.views import Views


class ContractRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset."""

    dataset: str


class RuleShown(msgspec.Struct, frozen=True, kw_only=True):
    """A declared rule, and in how many rows it warned so far."""

    part: str
    rule: str
    expected: str
    severity: str
    n_warned: int


class PartShown(msgspec.Struct, frozen=True, kw_only=True):
    """How fresh a part is: its latest time, and when its last batch came; empty if nothing did."""

    part: str
    latest: str
    arrived: str


class ContractShown(msgspec.Struct, frozen=True, kw_only=True):
    """What an author expects of a dataset beside what is learned of it."""

    dataset: str
    rules: tuple[RuleShown, ...]
    parts: tuple[PartShown, ...]


class TranslateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A file of Pandera or Great Expectations."""

    text: str
    name: str = "file"
    """What errors call it."""
    dataset: str = ""
    """The one that it is about; its columns and types are compared then."""
    parameters: dict[str, Any] = {}
    """Values of parameters that a suite names."""


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a file as Python, and all that was not translated."""

    tool: str
    rules: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    held: tuple[str, ...]
    """What a dataset holds by itself."""


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a part of a dataset, the base part if it is left out, and the tool to write for."""

    dataset: str
    to: Literal["pandera", "gx"]
    part: str = ""


@verb("contract.show", needs=READ)
def show_contract(views: Views, request: ContractRequest) -> ContractShown:
    """Show what an author expects of a dataset, what was warned of, and how fresh it is."""
    dataset = registered_dataset(views, request.dataset)
    with views.reading(DatasetsView) as view:
        declared = view.expectations(dataset.name) or ()
        warned = {part: dict(view.arrivals.counts(dataset.name, part).warnings) for part in dataset.parts}
        extents = {part: view.catalogue(dataset.name, part).extents() for part in dataset.parts}
    rules = [
        RuleShown(
            part=part,
            rule=rule_reason(one),
            expected=in_words(one),
            severity=one.severity,
            n_warned=warned[part].get(rule_reason(one), 0),
        )
        for one in declared
        for part in [dataset.part_of(one)]
    ]
    parts = []
    for part, found in extents.items():
        latest = max((one.last for one in found if one.last is not None), default=None)
        arrived = max((one.at for one in found), default=None)
        times = ["" if time is None else iso(time) for time in (latest, arrived)]
        parts.append(PartShown(part=part, latest=times[0], arrived=times[1]))
    return ContractShown(dataset=dataset.name, rules=tuple(rules), parts=tuple(parts))


@verb("contract.translate", needs=READ)
def translate_contract(views: Views, request: TranslateRequest) -> Translation:
    """Return the rules of a file of Pandera or Great Expectations as Python; nothing is changed."""
    shape = None
    if request.dataset:
        dataset = registered_dataset(views, request.dataset)
        shape = Shape(name=dataset.name, part=dataset.event_time, types=dataset.types())
    return translation(request, shape)


def translation(request: TranslateRequest, shape: Shape | None) -> Translation:
    """Return the rules of a file as Python.

    Raises
    ------
    InvalidInput
        If it is neither a schema of Pandera nor a suite of Great Expectations.
    """
    document = read_document(request.text.encode(), request.name)
    found: Translated
    if "expectations" in document:
        found = read_suite(document, shape, request.parameters)
    elif "columns" in document:
        found = read_pandera(document, shape)
    else:
        hint = "a schema of Pandera has columns, a suite of Great Expectations has expectations"
        raise InvalidInput("file", request.name, "is no contract that is known", hint=hint)
    rules = tuple(in_code(one) for one in found.expectations)
    return Translation(tool=found.tool, rules=rules, left_out=found.left_out, held=found.held)


@verb("contract.export", needs=READ)
def export_contract(views: Views, request: ExportRequest) -> Written:
    """Return what is declared of a part as a schema of Pandera or a suite of Great Expectations."""
    dataset = registered_dataset(views, request.dataset)
    part = request.part or dataset.event_time
    shape = Shape(name=dataset.name, part=part, types=dataset.part_types(part))
    with views.reading(DatasetsView) as view:
        declared = view.expectations(dataset.name) or ()
    own = [one for one in declared if dataset.part_of(one) == part]
    write = write_pandera if request.to == "pandera" else write_suite
    return write(own, shape, _strict(dataset, part))


def _strict(dataset: Dataset, part: str) -> list[str]:
    return list(dict.fromkeys((*dataset.key, part)))
