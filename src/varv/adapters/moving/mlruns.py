"""MLflow's folder ``mlruns``, as its file store wrote it: a folder an experiment and a run, a file a metric,
a parameter and a tag, and a description as YAML in each.

Source: what the file store of 3.6 writes. Deleted experiments are in ``.trash``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from varv.adapters.moving.artifact_folders import ArtifactFolders
from varv.adapters.moving.mlflow_words import LOGGED_STATUSES, run_status, stage_of
from varv.home.moving import Owner, SourceFile
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.plugins import required
from varv.registry.imports import SourceRegistered, SourceVersion
from varv.runs import Point
from varv.runs.imports import SourceExperiment, SourceModel, SourceRun, SourceTrace
from varv.runs.imports.model import Last
from varv.runs.model import DatasetInput, InputTag, ModelInput, ModelOutput
from varv.runs.traces.model import Span

TRASH, MODELS, META = ".trash", "models", "meta.yaml"
AT_ONCE = 200
_LARGEST_META = 16 << 20
_DELETED_VERSION = "Deleted_Internal"


class MlrunsFolder:
    """A source that is a folder of MLflow's file store.

    Parameters
    ----------
    root
        The folder, wherever it is now.
    extra
        A further folder that its artifacts may be in; None for none.

    Raises
    ------
    NotFound
        If it is no such folder.
    FailedPrecondition
        If PyYAML is not installed.
    """

    def __init__(self, root: Path, extra: Path | None = None) -> None:
        self._root = root.absolute()
        self.name = f"file://{self._root}"
        if not self._root.is_dir() or not any(self._folders()):
            hint = "give the folder mlruns, which holds one folder an experiment"
            raise NotFound("folder", str(root), "holds no experiments of MLflow", hint=hint)
        yaml: Any = required("yaml", kind="folder", name=self._root.name, extra="yaml")
        self._load, self._yaml_error = getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.YAMLError
        self._yaml = yaml
        self._artifacts = ArtifactFolders([self._root, *([] if extra is None else [extra])])

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield all experiments, deleted ones too."""
        for folder in self._folders():
            about = self._about(folder)
            created = about.get("creation_time") or 0
            yield SourceExperiment(
                id=folder.name,
                name=str(about["name"]),
                artifacts=str(about.get("artifact_location") or ""),
                deleted=about.get("lifecycle_stage") == "deleted",
                created_ms=created,
                updated_ms=about.get("last_update_time") or created,
                tags=_texts(folder / "tags"),
            )

    def runs(self, experiment: str) -> Iterator[list[SourceRun]]:
        """Yield the runs of an experiment, some hundred at a time."""
        # Folders of datasets, logged models, tags and traces are beside them, and have no description.
        runs = [one for one in _inside(self._folder(experiment)) if (one / META).is_file()]
        for start in range(0, len(runs), AT_ONCE):
            yield [self._run(experiment, one) for one in runs[start : start + AT_ONCE]]

    def _run(self, experiment: str, folder: Path) -> SourceRun:
        about = self._about(folder)
        tags = _texts(folder / "tags")
        inputs = [self._about(one) for one in _inside(folder / "inputs")]
        return SourceRun(
            id=folder.name,
            experiment=experiment,
            name=str(about.get("run_name") or tags.get("mlflow.runName", "")),
            user=str(about.get("user_id") or ""),
            status=run_status(about.get("status", 1)),
            deleted=about.get("lifecycle_stage") == "deleted",
            started_ms=about.get("start_time") or 0,
            ended_ms=about.get("end_time"),
            # Where it lies now: what is written is where it lay then.
            artifacts=self._place(folder, str(about.get("artifact_uri") or "")),
            params=_texts(folder / "params"),
            tags=tags,
            last=tuple(self._last(folder)),
            datasets=tuple(
                self._dataset(experiment, one) for one in inputs if one.get("source_type") == "DATASET"
            ),
            models=tuple(
                ModelInput(str(one["source_id"])) for one in inputs if one.get("source_type") != "DATASET"
            ),
            outputs=tuple(
                ModelOutput(str(one["destination_id"]), int(one.get("step") or 0))
                for one in (self._about(output) for output in _inside(folder / "outputs"))
            ),
        )  # fmt: skip

    def _dataset(self, experiment: str, use: dict[str, Any]) -> DatasetInput:
        about = self._about(self._folder(experiment) / "datasets" / str(use["source_id"]))
        tags = use.get("tags") or {}
        return DatasetInput(
            name=str(about["name"]),
            digest=str(about["digest"]),
            source_type=str(about.get("source_type") or ""),
            source=str(about.get("source") or ""),
            schema=str(about.get("schema") or ""),
            profile=str(about.get("profile") or ""),
            tags=tuple(InputTag(str(key), str(value)) for key, value in sorted(tags.items())),
        )

    def _last(self, folder: Path) -> Iterator[Last]:
        # All that can be seen without reading it whole: a file that has grown has another size.
        for path, name in _metrics(folder):
            yield Last(name, float(path.stat().st_size), 0, 0)

    def points(self, runs: Sequence[SourceRun]) -> Iterator[tuple[SourceRun, list[Point]]]:
        """Yield runs with their whole histories."""
        for run in runs:
            folder = self._folder(run.experiment) / run.id
            points = [point for path, name in _metrics(folder) for point in _points(path, name)]
            yield run, [self._linked(run, point) for point in points]

    def _linked(self, run: SourceRun, point: Point) -> Point:
        of = self._links.get((run.id, point.name, point.at_ms, point.step))
        return point if of is None else point._replace(model=of)

    @cached_property
    def _links(self) -> dict[tuple[str, str, int, int], str]:
        """The logged models that points are of."""
        found = {}
        for experiment in self._folders():
            for folder in _inside(experiment / MODELS):
                for path, name in _metrics(folder):
                    for words in _lines(path):
                        if len(words) > 3:
                            found[words[3], name, int(words[0]), int(words[2])] = folder.name
        return found

    def models(self, experiment: str) -> Iterator[list[SourceModel]]:
        """Yield the logged models of an experiment."""
        folders = _inside(self._folder(experiment) / MODELS)
        for start in range(0, len(folders), AT_ONCE):
            yield [self._model(experiment, one) for one in folders[start : start + AT_ONCE]]

    def _model(self, experiment: str, folder: Path) -> SourceModel:
        about = self._about(folder)
        return SourceModel(
            id=folder.name,
            experiment=experiment,
            name=str(about["name"]),
            type=str(about.get("model_type") or ""),
            run=str(about.get("source_run_id") or ""),
            status=LOGGED_STATUSES.get(about.get("status", 2), "READY"),
            deleted=about.get("lifecycle_stage") == "deleted",
            created_ms=about["creation_timestamp"],
            updated_ms=about["last_updated_timestamp"],
            artifacts=self._place(folder, str(about.get("artifact_location") or "")),
            params=_texts(folder / "params"),
            tags=_texts(folder / "tags"),
        )

    def traces(self, experiment: str) -> Iterator[list[SourceTrace]]:
        """Yield nothing: traces in folders are not read."""
        return iter(())

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, list[Span]]]:
        """Yield nothing."""
        return iter(())

    def registered(self) -> Iterator[SourceRegistered]:
        """Yield the registered models with their versions."""
        for folder in _inside(self._root / MODELS):
            about = self._about(folder)
            versions = [self._about(one) | {"tags": _texts(one / "tags")} for one in _inside(folder)
                        if one.name.startswith("version-")]  # fmt: skip
            yield SourceRegistered(
                name=folder.name,
                description=about.get("description") or "",
                created_ms=about["creation_timestamp"],
                updated_ms=about["last_updated_timestamp"],
                last=max((int(one["version"]) for one in versions), default=0),
                tags=_texts(folder / "tags"),
                aliases={name: int(text) for name, text in _texts(folder / "aliases").items()},
                versions=tuple(_version(one) for one in sorted(versions, key=lambda one: int(one["version"]))
                               if one.get("current_stage") != _DELETED_VERSION),
            )  # fmt: skip

    def files(self, owner: Owner) -> list[SourceFile]:
        """Return the artifacts of an owner."""
        return self._artifacts.files(owner.artifacts)

    def chunks(self, owner: Owner, path: str) -> Iterator[bytes]:
        """Yield the bytes of an artifact."""
        return self._artifacts.chunks(owner.artifacts, path)

    def close(self) -> None:
        """Close nothing: no file stays open."""

    def _place(self, folder: Path, written: str) -> str:
        elsewhere = urlsplit(written).scheme not in ("", "file")
        return written if elsewhere else str(folder / "artifacts")

    def _folders(self) -> list[Path]:
        """The folders of experiments, those that are deleted too."""
        found = [*_inside(self._root), *_inside(self._root / TRASH)]
        return [one for one in found if one.name.isdecimal() and (one / META).is_file()]

    def _folder(self, experiment: str) -> Path:
        here = self._root / experiment
        return here if here.is_dir() else self._root / TRASH / experiment

    def _about(self, folder: Path) -> dict[str, Any]:
        path = folder / META
        try:
            if path.stat().st_size > _LARGEST_META:
                raise Corrupt("file", str(path), "is too large for a description", most=_LARGEST_META)
            about = self._yaml.load(path.read_bytes(), Loader=self._load)
        except (OSError, self._yaml_error, RecursionError) as error:
            raise Corrupt("file", str(path), "cannot be read", why=str(error)[:200]) from None
        if not isinstance(about, dict):
            raise Corrupt("file", str(path), "describes nothing")
        return about


def _version(about: dict[str, Any]) -> SourceVersion:
    source = str(about.get("source") or "")
    return SourceVersion(
        number=int(about["version"]),
        source=source,
        storage=str(about.get("storage_location") or source),
        stage=stage_of(str(about.get("current_stage"))),
        run=str(about.get("run_id") or ""),
        run_link=str(about.get("run_link") or ""),
        logged_model=str(about.get("model_id") or ""),
        description=str(about.get("description") or ""),
        created_ms=about["creation_timestamp"],
        updated_ms=about["last_updated_timestamp"],
        tags=about["tags"],
    )


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())


def _texts(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    files = sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink())
    return {one.relative_to(folder).as_posix(): one.read_text(errors="replace") for one in files}


def _metrics(folder: Path) -> list[tuple[Path, str]]:
    """Return the files of metrics below a run or a model, with the names of the metrics."""
    root = folder / "metrics"
    return [(one, one.relative_to(root).as_posix()) for one in sorted(root.rglob("*")) if one.is_file()]


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open() as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if len(words) < 2:
                continue
            try:
                int(words[0]), float(words[1]), int(words[2]) if len(words) > 2 else 0
            except ValueError:
                raise Corrupt("file", str(path), "holds a line that is no point", line=number) from None
            yield words


def _points(path: Path, name: str) -> Iterator[Point]:
    for words in _lines(path):
        step = int(words[2]) if len(words) > 2 else 0
        dataset, digest = (words[3], words[4]) if len(words) > 4 else ("", "")
        yield Point(name, float(words[1]), int(words[0]), step, "", dataset, digest)
