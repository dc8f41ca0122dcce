"""A plan of what Feast had, written down as Python that an author goes on with.

Texts of the registry are quoted, and comments are of one line, so nothing of it can become code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from varv.features.moving.planning import (
    STATED,
    DatasetPlan,
    DerivedPlan,
    ListPlan,
    Plan,
    UsePlan,
    ViewPlan,
    called,
)
from varv.kernel.wording import count

_WIDTH = 88
_TITLES = {"rule": "Otherwise than in Feast", "not imported": "Not imported"}
_ROOT = "FEAST"


def declaration(plan: Plan, folder: str) -> str:
    """Return a file that declares a project of Feast.

    Parameters
    ----------
    folder
        Feast's, which relative paths begin at.
    """
    parts = [_head(plan), _imports(plan), f"{_ROOT} = {quoted(folder)}"]
    functions = [one for one in plan.datasets if one.is_read_by_function and not one.reason]
    text = "\n\n".join(parts) + "\n" + "".join(f"\n\n{_function(one)}\n" for one in functions)
    blocks = [
        *(_noted(_dataset(one), plan, f"source {called(one.source)}") for one in plan.datasets),
        *(_noted(_view(one), plan, *_abouts(one)) for one in plan.views),
        *(_use(one) for one in plan.uses),
        *(_derived(one) for one in plan.derived),
        *(_list(one) for one in plan.lists),
    ]
    return text + ("\n\n" if functions else "\n") + "\n\n".join(blocks) + "\n"


def quoted(value: str) -> str:
    """Return a text as Python has it, in double quotes."""
    return msgspec.json.encode(value).decode()


def comment(value: str) -> str:
    """Return a text as comments, none wider than a line."""
    plain = "".join(one if one.isprintable() else " " for one in value)
    lines: list[str] = []
    line = "#"
    for word in plain.split():
        if line != "#" and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = "# "
        line += f" {word}"
    return "\n".join([*lines, line])


def _abouts(view: ViewPlan) -> list[str]:
    """Return what differences of a view are about."""
    feast = view.feast
    streams = [f"push source {feast.stream.name}"] if feast.stream is not None else []
    parts = [f"{kind} {feast.name}:" for kind in ("feature", "aggregation")]
    return [f"view {feast.name}", *streams, *parts]


def _noted(text: str, plan: Plan, *abouts: str) -> str:
    """Return a declaration under what is otherwise with it; what is not imported says so itself."""
    if text.startswith("# Not imported"):
        return text
    notes = []
    for one in plan.differences:
        about = next((about for about in abouts if one.about.startswith(about)), None)
        if about is not None and (about.endswith(":") or one.about == about):
            notes.append(comment(one.line()))
    return "\n".join([*notes, text])


def _head(plan: Plan) -> str:
    lines = [
        '"""Features that varv import feast has written down; the file is yours from here on."""\n',
        comment(f"Feast's project: {plan.project}"),
    ]
    for kind, title in _TITLES.items():
        said = [comment(f"- {one.line()}") for one in plan.differences if one.kind == kind]
        lines += [f"#\n# {title}:", *said] if said else []
    return "\n".join(lines)


def _imports(plan: Plan) -> str:
    needs = any(one.is_read_by_function and not one.reason for one in plan.datasets)
    polars = "import polars as pl\n\n" if needs or any(one.code for one in plan.derived) else ""
    return f"{polars}import varv"


def _place(one: DatasetPlan) -> str:
    place = one.source.place.removeprefix("file://")
    relative = "://" not in place and not place.startswith("/")
    return f"{_ROOT} + {quoted(f'/{place}')}" if relative else quoted(place)


def _function(one: DatasetPlan) -> str:
    source = one.source
    created, time = quoted(source.created), quoted(source.time)
    steps = [f"pl.scan_parquet({_place(one)})"]
    renamed = {old: new for old, new in source.mapping.items() if old != new}
    if renamed:
        pairs = ", ".join(f"{quoted(old)}: {quoted(new)}" for old, new in renamed.items())
        steps.append(f".rename({{{pairs}}})")
    if one.dropped:
        steps += ["# Lists, maps and bytes are not kept.", f".drop({', '.join(map(quoted, one.dropped))})"]
    if one.is_clipped:
        n_early = 0 if one.rows is None else one.rows.n_early
        steps.append(f"# {count(n_early)} rows were written before they happened.")
        # A row that was never written stays so, which the larger of both times would hide.
        written = f"pl.when(pl.col({created}) < pl.col({time}))"
        steps += [
            ".with_columns(",
            f"    {written}",
            f"    .then({time})",
            f"    .otherwise({created})",
            f"    .alias({created})",
            ")",
        ]
    if one.is_corrected:
        steps.append("# A correction of a row is a row of its own.")
        steps.append(f".with_columns(pl.col({created}).alias({quoted(STATED)}))")
    lines = "".join(f"        {step}\n" for step in [*steps, ".collect()"])
    doc = '"""Return the rows of a file of Feast."""'
    return f"def {one.variable}_rows() -> pl.DataFrame:\n    {doc}\n    return (\n{lines}    )"


def _dataset(one: DatasetPlan) -> str:
    source = one.source
    reads = f"varv.Frame({one.variable}_rows)" if one.is_read_by_function else f"varv.Parquet({_place(one)})"
    key = [*one.keys, source.time, *([STATED] if one.is_corrected else [])]
    arguments = [
        quoted(one.name),
        f"source={reads}",
        *_listed("key=", dict.fromkeys(key)),
        f"event_time={quoted(source.time)}",
    ]
    if one.known_at:
        columns = _listed(f"{quoted(source.created)}: ", one.known_at, depth=2)
        arguments.append(_joined("known_at={", columns, "}"))
    return _call(one.variable, "varv.Dataset", arguments, one.reason)


def _view(one: ViewPlan) -> str:
    source = one.dataset.variable if one.dataset is not None else "None"
    arguments = [quoted(one.name), f"source={source}"]
    if one.feast.join_keys:
        arguments += _listed("entity=", one.feast.join_keys)
    if one.window:
        statistics = ", ".join(map(quoted, one.statistics))
        made = f"varv.windows({quoted(one.columns[0])}, [{statistics}], over={quoted(one.window)})"
        arguments.append(f"features={made}")
    else:
        arguments += _listed("features=", one.columns)
    if one.ttl:
        arguments.append(f"ttl={quoted(one.ttl)}")
    return _call(one.variable, "varv.FeatureView", arguments, one.reason)


def _use(one: UsePlan) -> str:
    pairs = ", ".join(f"{quoted(own)}: {quoted(asked)}" for own, asked in one.asked_by.items())
    arguments = [quoted(one.name), f"asked_by={{{pairs}}}"]
    whole = f"{one.variable} = {one.of.variable}.used_as({', '.join(arguments)})"
    if len(whole) <= _WIDTH:
        return whole
    return _call(one.variable, f"{one.of.variable}.used_as", arguments, "")


def _derived(one: DerivedPlan) -> str:
    if one.reason:
        said = comment(f"Not imported: on-demand view {one.view} {one.reason}. It was:")
        printable = ("".join(c if c.isprintable() else " " for c in line) for line in _lines(one.text))
        stub = f"# {one.variable} = varv.derived({quoted(one.variable)}, pl.col(...))"
        return "\n".join([said, *(f"#     {line}".rstrip() for line in printable), stub])
    whole = f"{one.variable} = varv.derived({quoted(one.name)}, {one.code})"
    if len(whole) <= _WIDTH:
        return whole
    inside = f"    {quoted(one.name)}, {one.code}"
    if len(inside) <= _WIDTH:
        return f"{one.variable} = varv.derived(\n{inside}\n)"
    return f"{one.variable} = varv.derived(\n    {quoted(one.name)},\n    {one.code},\n)"


def _list(one: ListPlan) -> str:
    notes = [comment(note) for note in (f"Feast's service {one.name}.", *one.notes)]
    return "\n".join([*notes, _joined(f"{one.variable} = ", [], "", of=one.items)])


def _call(variable: str, function: str, arguments: Sequence[str], reason: str) -> str:
    inside = "".join(f"    {line}\n" for one in arguments for line in f"{one},".split("\n"))
    text = f"{variable} = {function}(\n{inside})"
    if not reason:
        return text
    return "\n".join([comment(f"Not imported: {reason}."), *(f"# {line}" for line in text.split("\n"))])


def _listed(before: str, names: Iterable[str], depth: int = 1) -> list[str]:
    """Return an argument that is a list of texts, on one line if it fits."""
    texts = list(map(quoted, names))
    line = f"{before}[{', '.join(texts)}]"
    if len(line) + 1 + 4 * depth <= _WIDTH:
        return [line]
    return ["\n".join([f"{before}[", *(f"    {one}," for one in texts), "]"])]


def _joined(before: str, inside: Sequence[str], after: str, of: Sequence[str] | None = None) -> str:
    """Return what stands in brackets, on one line if it fits."""
    if of is not None:
        line = f"{before}[{', '.join(of)}]"
        return line if len(line) <= _WIDTH else "\n".join([f"{before}[", *(f"    {one}," for one in of), "]"])
    line = f"{before}{inside[0]}{after}"
    if "\n" not in line and len(line) + 5 <= _WIDTH:
        return line
    deeper = "\n".join(f"    {each}" for each in inside[0].split("\n"))
    return f"{before}\n{deeper},\n{after}"


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text.rstrip())
