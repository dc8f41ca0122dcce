"""The whole plan of a project of Feast."""

from __future__ import annotations

from collections.abc import Iterator

from varv.features.moving.model import Difference, FeastRegistry, FeastService, OnDemandView, Projection
from varv.features.moving.on_demand import translated
from varv.features.moving.planning import (
    DerivedPlan,
    ListPlan,
    Names,
    Plan,
    RowsOf,
    UsePlan,
    ViewPlan,
    datasets_of,
    view_of,
)


def planned(registry: FeastRegistry, rows_of: RowsOf) -> Plan:
    """Return what a project becomes here, and all that is otherwise.

    Parameters
    ----------
    rows_of
        Looks at the rows of a source.
    """
    plan = Plan(project=registry.project)
    plan.differences += _rules(registry)
    names = Names(plan.differences)
    datasets = datasets_of(registry, names, rows_of)
    plan.datasets = list(datasets.values())
    for view in registry.views:
        plan.views += view_of(view, datasets, names)
    for one in registry.on_demand:
        plan.derived += _derived(one, plan, names)
    plan.lists = [_list(one, plan, names) for one in registry.services]
    for what, n in registry.others.items():
        names.left(what, f"{n} of them")
    if registry.n_unknown:
        names.left("registry", f"{registry.n_unknown} fields are not known here")
    return plan


def _rules(registry: FeastRegistry) -> Iterator[Difference]:
    """Yield what holds for all features, and is otherwise in Feast."""

    def rule(about: str, what: str) -> Difference:
        return Difference(about=about, kind="rule", what=what)

    if any(one.ttl is not None for one in registry.views):
        yield rule("ttl", "holds for answers to live requests too, where Feast serves values of any age")
    if any(one.source is not None and one.source.created for one in registry.views):
        yield rule("late rows", "count and age from when they were written; mode='event' does as Feast")
    yield rule("training sets", "have a row for each request; Feast's file store drops some")
    yield rule("names", "are view__feature in every training set")
    yield rule("numbers", "are kept in single precision as features")


class _Columns:
    """Finds what the columns of a view on demand are called here.

    Raises
    ------
    ValueError
        From a call, for one that is not there.
    """

    def __init__(self, view: OnDemandView, plan: Plan, names: Names) -> None:
        self._request = {one.name for one in view.request}
        self._found: dict[str, tuple[ViewPlan | UsePlan, str]] = {}
        self.reads: dict[str, None] = {}
        for projection in view.views:
            source = plan.imported(projection.view)
            if source is None or source.window:
                continue
            read = _uses(projection, plan, names)[0] if projection.join_key_map else source
            for column in projection.columns:
                if column in source.columns:
                    place = (read, f"{read.name}__{column}")
                    self._found[column] = place
                    self._found[f"{projection.alias or projection.view}__{column}"] = place

    def __call__(self, name: str) -> str:
        if name in self._found:
            view, exported = self._found[name]
            self.reads[view.variable] = None
            return exported
        if name in self._request:
            return name
        raise ValueError(f"{name} is not imported")


def _derived(view: OnDemandView, plan: Plan, names: Names) -> list[DerivedPlan]:
    columns = _Columns(view, plan, names)
    try:
        if view.has_aggregations or not view.text:
            raise ValueError("it aggregates" if view.has_aggregations else "its text is not in the registry")
        found = translated(view.text, columns)
        missing = [one.name for one in view.features if one.name not in found]
        if missing:
            raise ValueError(f"it does not say how {missing[0]} is computed")
    except ValueError as error:
        reason = f"is not arithmetic of columns: {error}"
        names.left(f"on-demand view {view.name}", reason)
        variable = names.variable(view.name, "derived")
        return [DerivedPlan(variable=variable, name=view.name, view=view.name, text=view.text, reason=reason)]
    return [
        DerivedPlan(
            variable=names.variable(one.name, "derived"),
            name=names.name("derived feature", one.name, "derived"),
            view=view.name,
            code=found[one.name],
            reads=tuple(columns.reads),
        )
        for one in view.features
    ]


def _list(service: FeastService, plan: Plan, names: Names) -> ListPlan:
    items: dict[str, None] = {}
    notes: list[str] = []
    for one in service.projections:
        found = [use.variable for use in _uses(one, plan, names)] if one.join_key_map else _items(one, plan)
        items.update(dict.fromkeys(found))
        if not found:
            names.left(f"service {service.name}", f"{one.view} is not imported")
            notes.append(f"{one.view} is left out: it is not imported")
        notes += _narrowed(one, plan)
    return ListPlan(
        variable=names.variable(service.name, "features"),
        name=service.name,
        items=tuple(items),
        notes=tuple(notes),
    )


def _items(one: Projection, plan: Plan) -> list[str]:
    """Return the variables of what a service takes, with the views that derived features look at."""
    views = [view.variable for view in plan.views if view.feast.name == one.view and not view.reason]
    derived = [each for each in plan.derived if each.view == one.view and not each.reason]
    return [*views, *(read for each in derived for read in each.reads), *(each.variable for each in derived)]


def _uses(one: Projection, plan: Plan, names: Names) -> list[UsePlan]:
    """Return the uses of a view by other columns; several where a view has become several."""
    found: list[UsePlan] = []
    for view in plan.views:
        if view.feast.name != one.view or view.reason:
            continue
        asked_by = {own: theirs for own, theirs in one.join_key_map.items() if own in view.feast.join_keys}
        wanted = one.alias if one.alias not in ("", one.view) else "_".join([one.view, *asked_by.values()])
        wide = f"{wanted}{view.name.removeprefix(one.view)}" if view.name.startswith(one.view) else wanted
        same = [use for use in plan.uses if (use.of, use.asked_by) == (view, asked_by)]
        if not same:
            name = names.name("view", wide, "view")
            same = [UsePlan(variable=names.variable(wide, "view"), name=name, of=view, asked_by=asked_by)]
            plan.uses += same
        found += same
    return found


def _narrowed(one: Projection, plan: Plan) -> Iterator[str]:
    """Yield that a service takes some features of a view, which is one thing here."""
    view = plan.imported(one.view)
    if view is not None and not view.window and not set(view.columns) <= set(one.columns):
        yield f"Feast takes of {one.view} only: {', '.join(one.columns)}"
    if one.alias and one.alias != one.view and not one.join_key_map:
        yield f"{one.view} is called {one.alias} there"
