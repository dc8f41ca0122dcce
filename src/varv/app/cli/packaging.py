"""`varv package`: one version of a model as another server takes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from varv.adapters.runtimes import installed_runtimes
from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Line
from varv.app.cli.why import version_of
from varv.app.settings import Loaded
from varv.fronts.packages import TARGETS, Cluster, Exported, Source, write_folder
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import iso
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.registry import RegistryView, VersionRecord, open_package
from varv.registry.package import PROBE_TOLERANCE


def package(options: argparse.Namespace, loaded: Loaded) -> int:
    """Write a version of a model for another server."""
    settings = loaded.settings
    cluster = Cluster(storage=options.storage_uri, image=options.image, namespace=options.namespace)
    with reading_home(settings) as desk:
        record, origins, computed = _found(desk.views, options.model, version_of(options.version))
    blobs = FolderBlobs(settings.home / "blobs")
    source = Source(
        model=options.model,
        version=record.registered.version,
        digest=record.registered.package,
        registered=iso(record.at),
        package=open_package(blobs.get(record.registered.package)),
        origins=origins,
        computed=computed,
    )
    given, files = TARGETS[options.target](source, cluster)
    apart = _apart(given)
    written = write_folder(files, Path(options.to), options.target)
    told = {
        "model": source.model,
        "version": source.version,
        "target": options.target,
        "folder": options.to,
        "files": written,
        "apart": apart,
        "computed_by_varv": list(computed),
    }
    lines = [
        Line(f"wrote {source.model} v{source.version} for {options.target} to {options.to}"),
        Line(f"its graph answers the probe rows as the trained model did, to {apart:.1g}"),
    ]
    if computed:
        lines.append(Line(f"varv computes {', '.join(computed)}; callers there have to send them"))
    answer(options, told, lambda: [*lines, Line(f"next: read {Path(options.to) / 'README.md'}")])
    return 0


def _found(
    views: Views, model: str, version: int | None
) -> tuple[VersionRecord, dict[str, str], tuple[str, ...]]:
    """Return a version, where its columns come from, and which of them varv computes.

    Raises
    ------
    NotFound
        If there is no such model or version, or the model has no champion.
    """
    with views.reading(RegistryView) as registry, views.reading(LoopView) as loops:
        if version is not None or model not in registry.models:
            record = registry.version(model, version or 0)
        elif (champion := registry.models[model].champion) is not None:
            record = champion
        else:
            hint = "name a version: varv status lists them"
            raise NotFound("version", model, "has no champion", hint=hint)
        declared = loops.loops.get(model)
        features = {} if declared is None else declared.features
        names = record.registered.signature
        origins = {name: features[name].line() for name in names if name in features}
        computed = tuple(name for name in names if name in features and _is_computed(features[name]))
    return record, origins, computed


def _is_computed(feature: object) -> bool:
    return bool(getattr(feature, "expression", "") or getattr(feature, "view", ""))


def _apart(given: Exported) -> float:
    """Return how far the graph's answers to the probe rows are from the trained model's.

    Raises
    ------
    Corrupt
        If that is more than another machine may compute otherwise.
    """
    package = given.package
    if not package.probe:
        return 0.0
    loaded = installed_runtimes().load(package)
    apart = package.difference(loaded.predict(package.probe_rows()))
    if not apart <= PROBE_TOLERANCE:
        hint = "verify the home with varv verify; nothing was written"
        name = f"{given.model} v{given.source.version}"
        raise Corrupt("package", name, "does not answer as it did", by=apart, hint=hint)
    return apart
