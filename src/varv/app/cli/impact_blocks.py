"""How `varv data impact` shows what a column touches."""

from __future__ import annotations

from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.home.impact import Impact


def impact_blocks(found: Impact) -> list[Block]:
    """Return what a column touches, as text."""
    name = f"{found.dataset}.{found.column}" if found.column else found.dataset
    known = f", known at {found.known_at}" if found.known_at else ""
    if not (found.models or found.rules or found.training_sets):
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
    return [
        Heading(f"{name}{known}"),
        Grid(("model", "as", "views", "requirements", "report of a replay"), models),
        Grid(("model", "feature", "reads it as", "state", "definition"), features),
        Grid(("version", "role", "features", "trained on", "open rollout", "run"), versions),
        *([Line(f"training sets: {', '.join(found.training_sets)}")] if found.training_sets else []),
        *(Line(f"expected: {rule}") for rule in found.rules),
    ]
