"""What searches of runs and of experiments may speak of, under all the names that MLflow's clients use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from varv.runs.filters import ATTRIBUTE, LISTS, ORDERED, PATTERNS, PRESENCE, Grammar, Kind, Named
from varv.runs.model import RUN_NAME

METRIC, PARAMETER, TAG, DATASET = "metric", "parameter", "tag", "dataset"
_TEXTS = PATTERNS | PRESENCE


def named(
    kind: Kind, operators: frozenset[str], *names: str, means: tuple[str, str] = ("", "")
) -> Mapping[str, Named]:
    """Return one thing that can be compared, by each of its names; the first is the one it is known by."""
    one = Named(names[0], kind, operators, means)
    return dict.fromkeys(names, one)


def spelled(entities: Mapping[str, Iterable[str]]) -> Mapping[str, str]:
    """Return the entity that each spelling means."""
    return {spelling: entity for entity, spellings in entities.items() for spelling in (entity, *spellings)}


def _of_runs(*, extended: bool) -> Grammar:
    attributes = {
        **named("text", PATTERNS | LISTS, "run_id"),
        # A run's name is a tag as well, by which there is an index.
        **named("text", PATTERNS, "run_name", "run name", "Run name", "Run Name", means=(TAG, RUN_NAME)),
        **named("text", PATTERNS, "status"),
        **named("text", PATTERNS, "user_id"),
        **named("text", PATTERNS, "artifact_uri"),
        **named("number", ORDERED, "start_time", "created", "Created"),
        **named("number", ORDERED, "end_time"),
    }
    of_datasets = PATTERNS | LISTS
    datasets = {name: Named(name, "text", of_datasets) for name in ("name", "digest", "context")}
    return Grammar(
        keyed={
            METRIC: Named("", "number", ORDERED),
            PARAMETER: Named("", "text", _TEXTS),
            TAG: Named("", "text", _TEXTS),
        },
        fixed={ATTRIBUTE: attributes, DATASET: datasets},
        spelled=spelled(
            {
                METRIC: ("metrics",),
                PARAMETER: ("parameters", "param", "params"),
                TAG: ("tags",),
                ATTRIBUTE: ("attributes", "attr", "run"),
                DATASET: ("datasets",),
            }
        ),
        orders=frozenset({METRIC, PARAMETER, TAG, ATTRIBUTE}),
        extended=extended,
    )


RUNS = _of_runs(extended=False)
"""Over MLflow's protocol."""
OUR_RUNS = _of_runs(extended=True)
"""In our own command and interface, which know more."""

EXPERIMENTS = Grammar(
    keyed={TAG: Named("", "text", _TEXTS)},
    fixed={
        ATTRIBUTE: {
            **named("text", PATTERNS, "name"),
            **named("text", frozenset({"=", "!="}) | LISTS, "experiment_id"),
            **named("number", ORDERED, "creation_time"),
            **named("number", ORDERED, "last_update_time"),
        }
    },
    spelled=spelled({TAG: ("tags",), ATTRIBUTE: ("attributes",)}),
    orders=frozenset({ATTRIBUTE}),
)
