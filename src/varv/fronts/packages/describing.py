"""What goes beside a model wherever it is served: its signature as JSON, and a page on what is not in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from varv import __version__
from varv.fronts.packages.graph import missing_text
from varv.fronts.packages.model import Exported

_MOST_LISTED = 8
"""Categories that the page lists of a column; all are in the signature."""
_SOURCES = Path(__file__).with_name("sources")


def signature_file(given: Exported) -> bytes:
    """Return the signature as JSON: columns in order, categories in the order of their codes."""
    source = given.source
    columns = [_column(given, position) for position in range(len(given.columns))]
    return json_bytes(
        {
            "model": source.model,
            "version": source.version,
            "package": source.digest,
            "task": {"name": given.package.task.name, "options": given.package.task.options},
            "columns": columns,
            "inputs": [
                {"name": name, "datatype": kind, "shape": [-1, width]} for name, kind, width in given.inputs
            ],
            "output": {
                "name": given.output,
                "datatype": "FP32",
                "shape": [-1, given.package.width],
                "numbers": list(given.numbers),
            },
            "made_by": f"varv {__version__}",
        }
    )


def json_bytes(value: object) -> bytes:
    """Return a value as JSON that people can read; equal values have equal bytes."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def readme(given: Exported, title: str, serving: Sequence[str]) -> bytes:
    """Return the page beside a model.

    Parameters
    ----------
    title
        What the folder is.
    serving
        Paragraphs on how it is served.
    """
    source = given.source
    lines = [
        f"# {source.model} v{source.version} for {title}",
        "",
        f"Written by varv {__version__} from package `{source.digest[:12]}`, a {given.package.estimator}, "
        f"registered {source.registered}.",
        "",
        *(line for paragraph in serving for line in (paragraph, "")),
        "## What the model reads",
        "",
        *_rows(given),
        "",
        *_not_in_it(given),
        "## What it answers",
        "",
        _answers(given),
        "",
    ]
    return "\n".join(lines).encode()


def source_file(name: str) -> bytes:
    """Return a file that goes into folders as it is."""
    return (_SOURCES / name).read_bytes()


def requirements(given: Exported, *others: str) -> bytes:
    """Return what has to be installed, as `pip` reads it: see `required_packages`."""
    return "".join(f"{line}\n" for line in required_packages(given, *others)).encode()


def required_packages(given: Exported, *others: str) -> list[str]:
    """Return what computes, in the versions of when the model was made, and others in any."""
    libraries = given.package.environment.libraries
    needed = (
        f"{name}=={libraries[name]}" if name in libraries else name for name in ("numpy", "onnxruntime")
    )
    return sorted([*needed, *others])


def _column(given: Exported, position: int) -> dict[str, Any]:
    column = given.columns[position]
    kind = "whole number" if column.kind == "number" and column.dtype == "int64" else column.kind
    found: dict[str, Any] = {"name": column.name, "kind": kind}
    if column.categories:
        found["categories"] = list(column.categories)
    if column.kind != "number" and (missing := missing_text(column)):
        found["missing"] = missing
    if origin := given.source.origins.get(column.name):
        found["from"] = origin
    if column.name in given.source.computed:
        found["computed_by_varv"] = True
    return found


def _rows(given: Exported) -> list[str]:
    rows = ["| column | type | is |", "|---|---|---|"]
    for position, column in enumerate(given.columns):
        about = _column(given, position)
        kind = about["kind"]
        if column.categories:
            listed = ", ".join(text or '""' for text in column.categories[:_MOST_LISTED])
            more = len(column.categories) - _MOST_LISTED
            kind = f"one of {listed}" + (f" and {more} more" if more > 0 else "")
        rows.append(f"| {_cell(column.name)} | {_cell(kind)} | {_cell(about.get('from', ''))} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _not_in_it(given: Exported) -> list[str]:
    lines = []
    if given.package.signature.form == "matrix":
        lines.append("`X` is the matrix of these columns in this order; a missing number is NaN.")
    else:
        lines.append(
            "A missing number is NaN, a missing text the empty one; where Python answers, both may be null. "
            "A text that is none of a column's counts as missing."
        )
        lines += [
            f"The empty text is one of those of {column.name}: there `\\0`, a zero byte, is missing."
            for column in given.columns
            if missing_text(column)
        ]
    lines.append("An infinite number counts as missing.")
    if given.source.computed:
        lines.append(
            f"**varv computes {', '.join(given.source.computed)} from what it has stored.** Whoever calls "
            "this model has to compute it the same way and send it; nothing here does."
        )
    lines.append(
        "Checks, stored features, captured requests, drift, fallbacks and rollouts are varv's and are not in "
        "this folder: what is answered here is in no statistic of varv."
    )
    return [line for paragraph in lines for line in (paragraph, "")]


def _answers(given: Exported) -> str:
    width = given.package.width
    what = f"`{given.output}`, float32 of shape [rows, {width}]"
    if width > 1:
        what += f": {', '.join(given.numbers)}"
    n = len(given.package.probe)
    return (
        f"{what}. On the {n} probe rows of the package it was checked to answer what the trained model did."
    )
