"""`varv import feast`: write what a repository of Feast declares as a declaration, and compare the values."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import msgspec
import polars as pl

from varv.adapters.moving.feast import FeastRepository, open_feast
from varv.adapters.moving.feast_values import Asked, feast_values
from varv.app.cli.access import answer, written
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.settings import variables
from varv.data.sources import in_kept_types
from varv.features.feature_view import FeatureView
from varv.features.moving.comparing import AT, ROW, Class, Compared, compared, requests_for
from varv.features.moving.declaring import declaration
from varv.features.moving.model import Difference
from varv.features.moving.planned import planned
from varv.features.moving.planning import Plan, ViewPlan
from varv.features.moving.source_rows import rows_of
from varv.kernel.author_files import run_file
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.scratch import Scratch
from varv.kernel.wording import count

_TITLES = {"rule": "otherwise than in Feast", "changed": "changed", "not imported": "NOT IMPORTED"}


class FeastReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a repository of Feast."""

    project: str
    datasets: tuple[str, ...]
    views: tuple[str, ...]
    derived: tuple[str, ...]
    services: tuple[str, ...]
    differences: tuple[Difference, ...]
    compared: tuple[Compared, ...] = ()


def import_feast(options: argparse.Namespace) -> int:
    """Write a declaration; the status is 1 if values differ without a reason."""
    registry = Path(options.registry) if options.registry else None
    if options.requests and not options.python:
        raise InvalidInput("option", "--requests", "has no meaning alone", hint="give --python as well")
    repository = open_feast(Path(options.folder), variables(), registry)
    plan = planned(repository.registry, lambda source, keys: rows_of(source, repository.folder, keys))
    text = declaration(plan, str(repository.folder))
    if options.into:
        written(options.into, text)
    found = _compared(options, repository, plan, text) if options.python else ()
    report = FeastReport(
        project=plan.project,
        datasets=tuple(one.name for one in plan.datasets if not one.reason),
        views=tuple(one.name for one in plan.views if not one.reason),
        derived=tuple(one.name for one in plan.derived if not one.reason),
        services=tuple(one.name for one in plan.lists),
        differences=tuple(plan.differences),
        compared=found,
    )
    if options.into or options.json or found:
        answer(options, report, lambda: _blocks(report, options.into))
    else:
        sys.stdout.write(text)
    return 1 if any(one.n_different for one in found) else 0


def _compared(
    options: argparse.Namespace, repository: FeastRepository, plan: Plan, text: str
) -> tuple[Compared, ...]:
    """Return how the values of each view compare; what was written is what is run."""
    scratch = Scratch("feast-declaration")
    file = scratch.path / "feast_declaration.py"
    file.write_text(text)
    module = run_file(file)
    views = [one for one in plan.views if not one.reason and not one.window and _is_here(one)]
    given = _requests(Path(options.requests)) if options.requests else None
    pairs: list[tuple[FeatureView, Asked]] = []
    for one in views:
        view = _view(module, one)
        requests = requests_for(view) if given is None else given
        if set(view.entity) <= set(requests.columns) and requests.height:
            chosen = requests.select(*view.entity, AT, ROW)
            pairs.append((view, Asked(one.feast.name, one.columns, chosen)))
    theirs = feast_values(repository, options.python, [asked for _, asked in pairs], variables())
    return tuple(
        compared(view, asked.requests, rows, [f"{asked.view}__{name}" for name in asked.features])
        for (view, asked), rows in zip(pairs, theirs, strict=True)
    )


def _is_here(view: ViewPlan) -> bool:
    """Return whether the rows of a view are files here, which can be read again and again."""
    return view.dataset is not None and view.dataset.rows is not None


def _view(module: ModuleType, plan: ViewPlan) -> FeatureView:
    return getattr(module, plan.variable)


def _requests(path: Path) -> pl.DataFrame:
    try:
        rows = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NotFound("file", str(path), "cannot be read as Parquet", why=str(error)[:200]) from None
    if AT not in rows.columns:
        raise InvalidInput("requests", path.name, f"have no column {AT}", hint="name their times so")
    return in_kept_types(rows.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW)))


def _blocks(report: FeastReport, into: str) -> list[Block]:
    made = [
        ("datasets", count(len(report.datasets)), ", ".join(report.datasets)),
        ("views", count(len(report.views)), ", ".join(report.views)),
        ("derived features", count(len(report.derived)), ", ".join(report.derived)),
        ("lists of features", count(len(report.services)), ", ".join(report.services)),
    ]
    blocks: list[Block] = [
        Heading(f"from Feast's project {report.project}"),
        Grid(("", "", "names"), made),
        *([Line(f"wrote {into}")] if into else []),
    ]
    for kind, title in _TITLES.items():
        said = [Line(f"  {one.line()}") for one in report.differences if one.kind == kind]
        blocks += [Heading(f"{title}: {count(len(said))}"), *said] if said else []
    if not report.compared:
        return blocks
    classes: tuple[Class, ...] = get_args(Class)
    rows = [
        (one.view, count(one.n_requests), *(count(one.counts[each]) for each in classes))
        for one in report.compared
    ]
    some = [Line(f"  {each}") for one in report.compared for each in one.some]
    return [
        *blocks,
        Heading("values compared with Feast's"),
        Grid(("view", "requests", *classes), rows),
        *([Heading("DIFFERENT"), *some] if some else []),
    ]
