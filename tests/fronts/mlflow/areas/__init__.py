"""All areas, in the order in which a newcomer would read them."""

from __future__ import annotations

from importlib import import_module

NAMES = (
    "experiments",
    "runs",
    "metrics",
    "params_tags",
    "batches",
    "search_runs",
    "search_experiments",
    "histories",
    "inputs",
    "logged_models",
    "registered_models",
    "versions_aliases_stages",
    "artifacts",
    "lifecycle",
    "errors_and_json",
    "artifacts_mpu",
    "prompts",
    "traces_assessments",
    "webhooks",
)
AREAS = tuple(import_module(f"{__name__}.{name}").AREA for name in NAMES)
