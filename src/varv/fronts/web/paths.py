"""The pages of the console by their paths: what is built at each, and what lies behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.datastructures import QueryParams

from varv.fronts.web.page import Page, Reading, whole_number
from varv.fronts.web.pages import (
    comparison,
    datasets,
    entries,
    experiments,
    models,
    monitors,
    overview,
    registered,
    rollouts,
    runs,
)
from varv.kernel.errors import NotFound
from varv.kernel.ledger import Ledger

Build = Callable[[Reading, Ledger, Mapping[str, str], QueryParams], Page]
"""From the read models, the ledger, the parameters of the path and those of the query."""

NAVIGATION = (
    ("/", "Overview"),
    ("/models", "Models"),
    ("/rollouts", "Rollouts"),
    ("/monitors", "Monitors"),
    ("/data", "Data"),
    ("/labels", "Labels"),
    ("/experiments", "Experiments"),
    ("/ledger", "Ledger"),
)


def _number(path: Mapping[str, str], name: str) -> int:
    """Return a number of the path; what is none names nothing that exists."""
    text = path[name]
    if not text.isascii() or not text.isdigit():
        raise NotFound(name, text[:40], hint="it is a whole number")
    return whole_number(path, name, 0)


PAGES: tuple[tuple[str, Build], ...] = (
    ("/", lambda now, ledger, path, query: overview.overview_page(now, ledger, query)),
    ("/models", lambda now, ledger, path, query: registered.models_page(now, query)),
    ("/models/{model}", lambda now, ledger, path, query: registered.model_page(now, path["model"], query)),
    (
        "/models/{model}/versions/{version}",
        lambda now, ledger, path, query: registered.version_page(
            now, path["model"], _number(path, "version")
        ),
    ),
    (
        "/models/{model}/versions/{version}/output",
        lambda now, ledger, path, query: models.output_page(now, path["model"], _number(path, "version")),
    ),
    ("/rollouts", lambda now, ledger, path, query: rollouts.rollouts_page(now, query)),
    (
        "/rollouts/{model}/{version}",
        lambda now, ledger, path, query: rollouts.rollout_page(
            now, path["model"], _number(path, "version"), query
        ),
    ),
    ("/monitors", lambda now, ledger, path, query: monitors.monitors_page(now, query)),
    ("/monitors/{model}", lambda now, ledger, path, query: monitors.monitor_page(now, path["model"], query)),
    ("/data", lambda now, ledger, path, query: datasets.data_page(now, query)),
    ("/data/{dataset}", lambda now, ledger, path, query: datasets.dataset_page(now, path["dataset"], query)),
    (
        "/data/{dataset}/profile",
        lambda now, ledger, path, query: datasets.profile_page(now, path["dataset"], query),
    ),
    (
        "/data/{dataset}/impact",
        lambda now, ledger, path, query: datasets.impact_page(now, path["dataset"], query),
    ),
    (
        "/data/{dataset}/quarantine/{part}/{segment}",
        lambda now, ledger, path, query: datasets.quarantine_page(
            now, path["dataset"], path["part"], path["segment"]
        ),
    ),
    ("/experiments", lambda now, ledger, path, query: experiments.experiments_page(now, query)),
    (
        "/experiments/{experiment}",
        lambda now, ledger, path, query: experiments.runs_page(now, path["experiment"], query),
    ),
    ("/runs/{run}", lambda now, ledger, path, query: runs.run_page(now, path["run"], query)),
    ("/runs/{run}/artifacts", lambda now, ledger, path, query: runs.artifact_page(now, path["run"], query)),
    ("/compare", lambda now, ledger, path, query: comparison.compare_page(now, query)),
    ("/ledger", lambda now, ledger, path, query: entries.ledger_page(ledger, query)),
    ("/ledger/{seq}", lambda now, ledger, path, query: entries.entry_page(ledger, _number(path, "seq"))),
)

OF_RUNS = frozenset(
    {"/experiments", "/experiments/{experiment}", "/runs/{run}", "/runs/{run}/artifacts", "/compare"}
)
"""Pages for those who may read runs."""
GROWING = OF_RUNS | {"/models/{model}/versions/{version}/output", "/data/{dataset}/profile"}
"""Pages that show more than the ledger, and may change without it."""
