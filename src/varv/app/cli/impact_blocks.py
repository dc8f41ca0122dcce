"""How `varv data impact` shows what a column touches."""

from __future__ import annotations

from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.home.impact import Impact


def impact_blocks(found: Impact) -> list[Block]:
    """Return what a column touches, as text."""
    name = f"{found.dataset}.{found.column}" if found.column else found.dataset
    known = f", known at {found.known_at}" if found.known_at else ""
    others = (found.training_sets, found.made_from, found.tables, found.runs)
    if not (found.models or found.rules or any(others)):
        return [Heading(f"{name}{known}"), Line("nothing on record reads it")]
    models = [
        (
            one.model,
            ", ".join(one.roles),
            ", ".join(one.views),
            ", ".join(one.requirements),
            "has one" if one.has_report else "",
        )
        for one in found.models
    ]
    features = [(one.model, one.feature, one.how, one.state, one.definition) for one in found.features]
    versions = [
        (
            f"{one.model} v{one.version}",
            one.role,
            ", ".join(one.features),
            one.trained_on,
            one.rollout,
            one.run,
        )
        for one in found.versions
    ]
    runs = [(one.run, one.name, one.experiment, one.input) for one in found.runs]
    return [
        Heading(f"{name}{known}"),
        Grid(("model", "as", "views", "requirements", "report of a replay"), models),
        Grid(("model", "feature", "reads it as", "state", "definition"), features),
        Grid(("version", "role", "features", "trained on", "open rollout", "run"), versions),
        Grid(("run", "name", "experiment", "has read"), runs),
        *([Line(f"training sets: {', '.join(found.training_sets)}")] if found.training_sets else []),
        *([Line(f"datasets made from it: {', '.join(found.made_from)}")] if found.made_from else []),
        *(
            Line(f"published: {one.part} version {one.version} as version {one.delta_version} of its table")
            for one in found.tables
        ),
        *(Line(f"expected: {rule}") for rule in found.rules),
    ]
