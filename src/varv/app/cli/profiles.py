"""`varv data profile` and `varv data watch`: what rows are like, and whether they are like those before."""

from __future__ import annotations

import argparse
from pathlib import Path

from varv.app.cli.access import acted, answer, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.why import version_of
from varv.app.settings import Settings
from varv.data.profiling.verbs import (
    Profiled,
    ProfileRequest,
    WatchedDataset,
    WatchRequest,
    profile_dataset,
    watch_dataset,
)
from varv.fronts.web.distributions import mean_kind, shown
from varv.fronts.web.profiles import write_profile
from varv.home.trained_profile import TrainingProfileRequest, profile_training
from varv.kernel.errors import InvalidInput
from varv.kernel.wording import count, limits, number, percent
from varv.profiles.counted import DATE, TIME
from varv.profiles.difference import ColumnDifference, ProfileDifference
from varv.profiles.drift import LARGE
from varv.profiles.reading import ColumnRead

_SHOWN = (0.05, 0.5, 0.95)
_LENGTHS = "of texts, least and greatest are lengths"


def profile(options: argparse.Namespace, settings: Settings) -> None:
    """Run `varv data profile`."""
    found = _trained(options, settings) if options.model else _of_rows(options, settings)
    if options.html:
        write_profile(found, Path(options.html))
    answer(options, found, lambda: _blocks(found, options.html))


def _of_rows(options: argparse.Namespace, settings: Settings) -> Profiled:
    asked = ProfileRequest(
        dataset=options.what,
        against=options.against,
        outcome=options.outcome,
        window=options.window,
        against_window=options.against_window,
    )
    with reading_home(settings) as home:
        return profile_dataset(home.require_versions(), asked)


def _trained(options: argparse.Namespace, settings: Settings) -> Profiled:
    """Return what a version of a model was trained on."""
    given = {"--outcome": options.outcome, "--window": options.window}
    given["--against-window"] = options.against_window
    for name, text in given.items():
        if text:
            hint = "leave it out: the profile is that of all rows that the version was trained on"
            raise InvalidInput("option", name, "is for datasets", hint=hint)
    model, _, version = options.what.partition("@")
    asked = TrainingProfileRequest(
        model=model, version=version_of(version or None), against=version_of(options.against or None)
    )
    with reading_home(settings) as home:
        return profile_training(home.records, asked)


def _blocks(found: Profiled, page: str) -> list[Block]:
    columns = found.profile.columns
    rows = [_row(one, found.profile.n_rows) for one in columns]
    names = ("column", "kind", "missing", "distinct", "mean", "least", "5 %", "median", "95 %", "greatest")
    tells = [
        (one.name, percent(one.share), number(one.information, 4), number(one.by_chance, 4))
        for one in found.profile.importances
    ]
    told = Heading(f"what tells about {found.profile.outcome}")
    window = f", {found.window}" if found.window else ""
    of = f"known at {found.part}" if found.part else "what it was trained on"
    return [
        Heading(f"{found.dataset}, version {found.version}, {of}{window}"),
        Line(f"{count(found.profile.n_rows)} rows"),
        Grid(names, rows),
        *([Line(_LENGTHS)] if any(one.kind == "text" and one.low is not None for one in columns) else []),
        *([told, Grid(("column", "share", "nats", "by chance"), tells)] if tells else []),
        *(moved_blocks(found.difference, found.against) if found.difference else []),
        *([Line(f"the page is {page}")] if page else []),
    ]


def _row(one: ColumnRead, n_rows: int) -> tuple[str, ...]:
    quantiles = dict(one.quantiles)
    about = "~" if one.distinct_low < one.distinct_high else ""
    return (
        one.name,
        f"{one.kind}, private" if one.private else one.kind,
        percent((one.n_null + one.n_nan) / n_rows) if n_rows else "–",
        f"{about}{count(one.n_distinct)}",
        shown(mean_kind(one.kind), one.mean),
        shown(one.kind, one.low),
        *(shown(one.kind, quantiles.get(share)) for share in _SHOWN),
        shown(one.kind, one.high),
    )


def moved_blocks(found: ProfileDifference, against: str) -> list[Block]:
    """Return what moved since an earlier profile."""
    rows = [_moved_row(one) for one in found.columns if one.moved]
    fields = {"new": found.only_after, "gone": found.only_before, "of another kind": found.changed_kind}
    lines = [Line(f"{name}: {', '.join(columns)}") for name, columns in fields.items() if columns]
    names = ("column", "moved", "missing", "mean", "change", "largest gap", "index")
    rest: list[Block] = [Grid(names, rows)] if rows else [Line("nothing moved by more than chance explains")]
    drifted = [one.name for one in found.columns if one.drifted]
    if drifted:
        rest.append(Line(f"drifted, by an index of {LARGE:g} beyond chance: {', '.join(drifted)}"))
    pairs = [(one.first, one.second, number(one.before, 3), number(one.after, 3)) for one in found.pairs]
    if pairs:
        rest.append(Heading("correlations that changed"))
        rest.append(Grid(("column", "with", "before", "after"), pairs))
    return [Heading(f"what moved since {against}"), *lines, *rest]


def _moved_row(one: ColumnDifference) -> tuple[str, ...]:
    mean = one.mean
    # Of times a difference of means is a number of microseconds, which nobody reads.
    change = mean if one.kind not in (TIME, DATE) else None
    kind = mean_kind(one.kind)
    return (
        one.name,
        ", ".join(one.moved),
        f"{percent(one.missing.before)} -> {percent(one.missing.after)}",
        f"{shown(kind, mean.before)} -> {shown(kind, mean.after)}" if mean else "–",
        limits(change.after - change.before, change.low, change.high) if change else "–",
        limits(one.gap, one.gap_low, one.gap_high) if one.gap is not None else "–",
        number(one.effect.psi, 3) if one.effect else "–",
    )


def watch(options: argparse.Namespace, settings: Settings) -> None:
    """Run `varv data watch`."""
    asked = WatchRequest(
        dataset=options.what, every=options.every, false_alarm_every=options.false_alarm_every
    )
    found = acted(settings, "dataset.watch", asked, watch_dataset, WatchedDataset)
    answer(options, found, lambda: _watched(found))


def _watched(found: WatchedDataset) -> list[Block]:
    rows = [
        (
            one.column or "(rows)",
            one.measure,
            shown("time", one.start),
            number(one.value),
            f"{number(one.low)} to {number(one.high)}",
        )
        for one in found.open
    ]
    usual = "" if found.hours_usual is None else f", usual {number(found.hours_usual, 1)} h at most"
    late = "late: " if found.is_late else ""
    since = (
        ""
        if found.hours_since is None
        else f"; {late}nothing came for {number(found.hours_since, 1)} h{usual}"
    )
    judged = f"{count(found.n_windows)} windows of {found.dataset}, {found.part}"
    record = f"{found.n_raised} alarms and {found.n_cleared} all-clears were put on record"
    empty = Line("no alarm is open")
    return [
        Line(f"{judged}: {record}{since}"),
        Grid(("column", "number", "since", "value", "usual"), rows) if rows else empty,
    ]
