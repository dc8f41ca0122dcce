"""A project that was served once, how its file is changed, and how far its change has come."""

from __future__ import annotations

import json
from typing import Any

from tests.app.serving import varv

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}


def edited(project, *pairs):
    """Change a project's file, each text to another."""
    text = project.read_text()
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    project.write_text(text)


WIDER_VIEW = (
    'entity="courier", features=varv.windows("late", "mean", over=["7d"])',
    'entity="courier", features=varv.windows("late", "mean", over=["3d", "7d"])',
)
RUSH = ('"hour", district_lately', '"hour", rush, district_lately')
DEFINED = ("\ndef fit(", '\nrush = varv.derived("rush", pl.col("hour") > 16)\n\n\ndef fit(')
IMPORT = ("import varv\n", "import polars as pl\n\nimport varv\n")
LIGHTER = ('"weight_kg", ', "")
CHANGED = (WIDER_VIEW, RUSH, DEFINED, IMPORT, LIGHTER)
NEW = ["rush", "courier_lately.late_mean_3d"]


def changes_of(home) -> list[dict[str, Any]]:
    """Return the changes that are open, and the last that is not."""
    return json.loads(varv(home, "status", "--json"))["changes"]


def done(home) -> dict[str, Any] | None:
    """Return the last change once it is done."""
    found = changes_of(home)
    return found[-1] if found and found[-1]["phase"] == "done" else None
