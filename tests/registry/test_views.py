"""The registry folded from its events: versions never change, aliases move, unknown names list the known."""

from __future__ import annotations

import msgspec
import pytest

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest
from varv.kernel.errors import NotFound
from varv.kernel.ledger import Entry
from varv.registry import AliasMoved, DatasetUse, RegistryView, VersionRegistered, lineage


def registered(version: int, model: str = "late", **more: object) -> VersionRegistered:
    fields = {
        "package": Digest(f"package-{version}"),
        "reference": Digest("reference"),
        "signature": ("x",),
        "estimator": "sklearn.linear_model.LogisticRegression",
        "trained_from": Instant(10),
        "held_out_from": Instant(20),
        "cutoff": Instant(30),
        "n_rows": 100,
        "n_validation": 10,
        "metrics": {"log_loss": 0.5, "auc": None},
        "params": {"depth": 3},
        "seed": 7,
        "code": Digest("code"),
        "environment": Digest("environment"),
        "datasets": (DatasetUse("flights", 4, Digest("rows")),),
        "pipeline_key": Digest("key"),
        "work": 100,
    }
    return VersionRegistered(model=model, version=version, **(fields | more))


def moved(alias: str, version: int | None, model: str = "late", previous: int | None = None) -> AliasMoved:
    return AliasMoved(model=model, alias=alias, version=version, previous=previous)


def folded(*events) -> RegistryView:
    view = RegistryView()
    for seq, event in enumerate(events, 1):
        view.apply(
            Entry(seq, f"model/{event.model}", seq, event.event_name, 1, Instant(seq), None, b"", b""), event
        )
    return view


def test_versions_are_kept_with_where_and_when_they_were_registered():
    view = folded(registered(1), registered(2))
    record = view.version("late", 2)
    assert record.registered == registered(2)
    assert (record.seq, record.at) == (2, Instant(2))
    assert list(view.models["late"].versions) == [1, 2]


def test_an_alias_names_one_version_at_a_time():
    view = folded(registered(1), registered(2), moved("champion", 1), moved("champion", 2, previous=1))
    assert view.models["late"].champion.registered.version == 2
    assert view.version("late", 1).aliases == set()
    assert view.version("late", 2).aliases == {"champion"}


def test_what_once_was_champion_is_remembered():
    view = folded(registered(1), registered(2), moved("champion", 1), moved("champion", 2, previous=1))
    assert [view.version("late", number).was_champion for number in (1, 2)] == [True, True]
    other = folded(registered(1), registered(2), moved("challenger", 1), moved("champion", 2))
    assert not other.version("late", 1).was_champion


def test_an_alias_that_is_taken_away_names_nothing():
    view = folded(
        registered(1), moved("champion", 1), moved("challenger", 1), moved("champion", None, previous=1)
    )
    assert view.models["late"].champion is None
    assert view.version("late", 1).aliases == {"challenger"}


def test_aliases_of_one_model_leave_others_alone():
    view = folded(registered(1), registered(1, "early"), moved("champion", 1), moved("champion", 1, "early"))
    view.apply(
        Entry(9, "model/early", 1, "registry.alias_moved", 1, Instant(9), None, b"", b""),
        moved("champion", None, "early"),
    )
    assert view.models["late"].champion is not None
    assert view.models["early"].champion is None


def test_an_unknown_model_is_said_with_the_names_that_there_are():
    with pytest.raises(NotFound, match=r"model 'lat' is not registered \(registered=\['early', 'late'\]\)"):
        folded(registered(1), registered(1, "early")).version("lat", 1)


def test_an_unknown_version_is_said_with_the_versions_that_there_are():
    with pytest.raises(NotFound, match=r"version 'late v3' is not registered \(registered=\[1, 2\]\)"):
        folded(registered(1), registered(2)).version("late", 3)


def test_lineage_names_the_code_the_rows_and_the_entry():
    found = lineage(folded(registered(1), registered(2)), "late", 2)
    assert (found.registered_in, found.package, found.code) == (2, "package-2", "code")
    assert found.datasets == (DatasetUse("flights", 4, Digest("rows")),)
    record = registered(2)
    shared = set(found.__struct_fields__) & set(record.__struct_fields__) - {"fitted_until", "judged"}
    assert all(getattr(found, name) == getattr(record, name) for name in shared)


def test_lineage_of_what_is_not_there_is_refused():
    with pytest.raises(NotFound):
        lineage(folded(registered(1)), "late", 2)


def test_a_registered_version_survives_json():
    event = registered(1, planted="leaky")
    assert msgspec.json.decode(msgspec.json.encode(event), type=VersionRegistered) == event


def test_a_version_from_before_refits_was_judged_itself_on_what_came_after_its_rows():
    old = registered(1)
    assert (old.data_end, old.is_refit) == (Instant(20), False)
    [fit] = old.judged_fits
    assert (fit.package, fit.since, fit.until, fit.n_held_out) == ("package-1", Instant(20), Instant(30), 10)


def test_a_refit_was_judged_by_its_sibling_which_did_not_see_the_held_out_rows():
    sibling = msgspec.structs.replace(registered(1).judged_fits[0], package=Digest("sibling"))
    made = registered(1, fitted_until=Instant(30), judged=(sibling,))
    assert (made.data_end, made.is_refit, made.judged_fits) == (Instant(30), True, (sibling,))
    found = lineage(folded(made), "late", 1)
    assert (found.fitted_until, found.is_refit, found.judged) == (Instant(30), True, (sibling,))


def test_a_version_that_an_earlier_release_registered_can_still_be_read():
    stored = msgspec.to_builtins(registered(1))
    for name in ("fitted_until", "judged"):
        del stored[name]
    assert msgspec.convert(stored, VersionRegistered) == registered(1)
