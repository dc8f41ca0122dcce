"""varv closes the loop of machine learning in production.

Declare a model once (data, features, training, gates, rollout, monitors, retraining) and varv trains it,
rolls it out, serves it, watches it, retrains it and rolls it back; `varv replay` shows what that policy would
have done over past data. Names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "CloudEvents": "varv.project",
    "Csv": "varv.data",
    "Dataset": "varv.data",
    "Dbt": "varv.data",
    "Debezium": "varv.data",
    "Drop": "varv.data.privacy",
    "FeatureView": "varv.features",
    "Frame": "varv.data",
    "Generalise": "varv.data.privacy",
    "Http": "varv.data",
    "JsonLines": "varv.data",
    "Landing": "varv.data",
    "Labelling": "varv.project",
    "Log": "varv.project",
    "Model": "varv.project",
    "Objects": "varv.data",
    "Outcome": "varv.project",
    "Parquet": "varv.data",
    "Pipeline": "varv.pipelines",
    "Plant": "varv.project",
    "Policy": "varv.project",
    "PolicySearch": "varv.project",
    "Replay": "varv.project",
    "Encrypt": "varv.data.privacy",
    "Pseudonymise": "varv.data.privacy",
    "Report": "varv.pipelines",
    "Requirement": "varv.project",
    "Rest": "varv.data",
    "Retention": "varv.project",
    "Retrain": "varv.project",
    "Rollout": "varv.rollout",
    "Serving": "varv.project",
    "Sql": "varv.data",
    "Stop": "varv.pipelines",
    "Train": "varv.training",
    "TrainingSet": "varv.training",
    "Tune": "varv.tuning",
    "VarvError": "varv.kernel.errors",
    "behaviour": "varv.training",
    "check": "varv.project",
    "config": "varv.runs.config",
    "derived": "varv.features",
    "expect": "varv.data.contracts",
    "fallback": "varv.project",
    "gate": "varv.training",
    "incremental": "varv.training",
    "into": "varv.pipelines.versions",
    "inverse_propensity": "varv.training",
    "money": "varv.project",
    "monitor": "varv.monitoring",
    "packaged": "varv.training",
    "share": "varv.features",
    "slice": "varv.features",
    "rows": "varv.pipelines.versions",
    "search": "varv.training",
    "sql": "varv.pipelines.versions",
    "step": "varv.pipelines",
    "task": "varv.tasks",
    "transform": "varv.project",
    "windows": "varv.features",
}
_WAYS_IN = {
    "connect": ("varv.app.client.connecting", "connect"),
    "load_config": ("varv.app.client.configuring", "load_config"),
    "open": ("varv.app.client.opening", "open_home"),
    "replay": ("varv.app.client.replaying", "replay"),
    "training_set": ("varv.app.client.training_sets", "training_set"),
}
"""Functions of the composition, which are called otherwise there."""
_MODULES = {name: name for name in ("behaviour", "expect", "gate", "monitor", "task")}

__all__ = [
    "CloudEvents",
    "Csv",
    "Dataset",
    "Dbt",
    "Debezium",
    "Drop",
    "Encrypt",
    "FeatureView",
    "Frame",
    "Generalise",
    "Http",
    "JsonLines",
    "Labelling",
    "Landing",
    "Log",
    "Model",
    "Objects",
    "Outcome",
    "Parquet",
    "Pipeline",
    "Plant",
    "Policy",
    "PolicySearch",
    "Pseudonymise",
    "Replay",
    "Report",
    "Requirement",
    "Rest",
    "Retention",
    "Retrain",
    "Rollout",
    "Serving",
    "Sql",
    "Stop",
    "Train",
    "TrainingSet",
    "Tune",
    "VarvError",
    "behaviour",
    "check",
    "config",
    "connect",
    "derived",
    "expect",
    "fallback",
    "gate",
    "incremental",
    "into",
    "inverse_propensity",
    "load_config",
    "money",
    "monitor",
    "open",
    "packaged",
    "replay",
    "rows",
    "search",
    "share",
    "slice",
    "sql",
    "step",
    "task",
    "training_set",
    "transform",
    "windows",
]

if TYPE_CHECKING:
    from varv.app.client.configuring import load_config
    from varv.app.client.connecting import connect
    from varv.app.client.opening import open_home as open
    from varv.app.client.replaying import replay
    from varv.app.client.training_sets import training_set
    from varv.data import (
        Csv,
        Dataset,
        Dbt,
        Debezium,
        Frame,
        Http,
        JsonLines,
        Landing,
        Objects,
        Parquet,
        Rest,
        Sql,
    )
    from varv.data.contracts import expect
    from varv.data.privacy import Drop, Encrypt, Generalise, Pseudonymise
    from varv.features import FeatureView, derived, share, slice, windows
    from varv.kernel.errors import VarvError
    from varv.monitoring import monitor
    from varv.pipelines import Pipeline, Report, Stop, step
    from varv.pipelines.versions import into, rows, sql
    from varv.project import (
        CloudEvents,
        Labelling,
        Log,
        Model,
        Outcome,
        Plant,
        Policy,
        PolicySearch,
        Replay,
        Requirement,
        Retention,
        Retrain,
        Serving,
        check,
        fallback,
        money,
        transform,
    )
    from varv.rollout import Rollout
    from varv.runs.config import config
    from varv.tasks import task
    from varv.training import (
        Train,
        TrainingSet,
        behaviour,
        gate,
        incremental,
        inverse_propensity,
        packaged,
        search,
    )
    from varv.tuning import Tune


def __getattr__(name: str) -> Any:
    if name in _WAYS_IN:
        module, function = _WAYS_IN[name]
        return getattr(import_module(module), function)
    if name not in _WHERE:
        raise AttributeError(f"module 'varv' has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"{_WHERE[name]}.{_MODULES[name]}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WAYS_IN, *_WHERE})
