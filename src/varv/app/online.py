"""The online store of a home: where it is, and which feature views are in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from varv.adapters.keyvalue.redis import RedisKeyValue
from varv.adapters.keyvalue.sqlite import SqliteKeyValue
from varv.data import Datasets
from varv.features import FeatureView
from varv.features.online.materialising import Materialiser
from varv.features.online.ports import KeyValue
from varv.features.online.stored import StoredHistory
from varv.features.online.verbs import OnlineDesk
from varv.features.view_history import key_of
from varv.home.change.recorded import recorded_schemas
from varv.kernel.clock import Clock
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.views import Views

FOLDER = "online"


def online_store(home: Path, place: str) -> KeyValue:
    """Return the store that the setting ``online_store`` names."""
    if place.startswith(("redis://", "rediss://")):
        # Homes that share a database must not meet; the secret tells them apart, wherever they lie.
        space = Secret(home / SECRET_FILE).digest(b"the space of the online store")[:12]
        return RedisKeyValue(place, space=space)
    return SqliteKeyValue(home / FOLDER)


def stored_by(store: KeyValue, names: frozenset[str]) -> Callable[[FeatureView], StoredHistory | None]:
    """Return what is behind views that are served from the store, by the setting ``online_views``."""
    return lambda view: StoredHistory(view, store) if view.name in names else None


def recorded_views(views: Views, ledger: Ledger) -> list[FeatureView]:
    """Return the feature views of all models on record, those that versions in force read among them.

    Raises
    ------
    FailedPrecondition
        If a feature of one cannot be built again.
    """
    found = recorded_schemas(views, ledger).values()
    return list({key_of(view): view for schema in found for view in schema.features.views}.values())


def names_in(setting: str) -> frozenset[str]:
    """Return the names in a setting, which has commas between them."""
    return frozenset(name.strip() for name in setting.split(",") if name.strip())


def offline_online(
    home: Path,
    ledger: Ledger,
    views: Views,
    clock: Clock,
    place: str = "sqlite",
    *,
    writes: bool = False,
    faults: Faults | None = None,
) -> OnlineDesk:
    """Return what acts on the online store of a home that nobody serves."""
    columns = FolderColumns(home / "columns", faults=faults)
    datasets = Datasets(ledger, columns, clock, views, Secret(home / SECRET_FILE))
    store = online_store(home, place)
    materialiser = Materialiser(datasets, views, store, clock, datasets.commit, faults) if writes else None
    held: list[Sequence[FeatureView]] = []

    def declared() -> Sequence[FeatureView]:
        if not held:
            held.append(recorded_views(views, ledger))
        return held[0]

    return OnlineDesk(views, datasets, clock, store, declared, materialiser)
