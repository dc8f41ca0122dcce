"""Pipelines: a graph of typed steps whose results are found by their content.

The key of a step is made of its code closure, the digests of its inputs, its parameters, the environment and
the seed. A result that is there is a hit and the step does not run; after a crash the graph is run again and
everything finished is a hit. That is the whole of durable execution here: no replay, no rules for the author.
A miss says what changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest, canonical, digest, digest_of
from varv.kernel.environment import environment
from varv.kernel.errors import InvalidInput, VarvError
from varv.kernel.ids import checked_name
from varv.kernel.storage import storing
from varv.kernel.user_code import UserCode
from varv.training.closure import code_closure

_SCHEMA = 1


class Input(msgspec.Struct, frozen=True):
    """A value that a step needs: what it is, and how to get it if the step must run."""

    digest: Digest
    load: Callable[[], Any]


class PipelineStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step: a function of named inputs that returns bytes or a frozen struct.

    Parameters
    ----------
    name
        Unique in its pipeline.
    run
        Called with the inputs as keyword arguments.
    produces
        ``bytes``, or the `msgspec.Struct` type of the result.
    needs
        Parameter name to an `Input`, or to the name of an earlier step.
    code
        Functions beside `run` whose code the result depends on, such as the author's own.
    params
        Further values of the key, as JSON.
    """

    name: str
    run: Callable[..., Any]
    produces: type = bytes
    needs: Mapping[str, Input | str] = {}
    code: tuple[Callable[..., Any], ...] = ()
    params: Mapping[str, Any] = {}
    seed: int = 0


class StepResult(msgspec.Struct, frozen=True):
    """What a step produced and where it came from."""

    value: Any
    digest: Digest
    key: Digest
    hit: bool
    missed_for: tuple[str, ...] = ()
    """Parts of the key that no earlier result of this step had, such as ``"code fit"``."""


PipelineResult = dict[str, StepResult]


class _Record(msgspec.Struct, frozen=True):
    result: Digest
    parts: dict[str, str]
    seal: Digest = Digest("")
    """Digest of the other two; empty in records of an earlier version."""

    def holds(self, key: str) -> bool:
        """Return whether the record is that of `key`, as it was written."""
        sealed = self.seal in ("", digest_of([self.result, self.parts]))
        return sealed and digest_of(self.parts) == key


class StepCache:
    """Results of steps by key: records in a folder, bytes in blobs.

    Parameters
    ----------
    folder
        Where records are kept, one small file a key; made if it is not there.
    blobs
        Where the results themselves are.
    """

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, step: str, key: Digest) -> tuple[Digest, bytes] | None:
        """Return the digest and bytes of the result under `key`, or None.

        A record whose bytes are gone or damaged is no result: the step runs again.
        """
        try:
            record = msgspec.json.decode((self._folder / step / key).read_bytes(), type=_Record)
            return (record.result, self._blobs.get(record.result)) if record.holds(key) else None
        except (OSError, msgspec.MsgspecError, VarvError):
            return None

    def keep(self, step: str, key: Digest, parts: dict[str, str], data: bytes) -> Digest:
        """Keep `data` under `key` and return its digest."""
        result = self._blobs.put(data)
        place = self._folder / step / key
        draft = place.with_name(f".{key}.{os.getpid()}")
        with storing("step", place, draft=draft):
            place.parent.mkdir(exist_ok=True)
            draft.write_bytes(canonical(_Record(result, parts, digest_of([result, parts]))))
            draft.replace(place)
        return result

    def why_missed(self, step: str, parts: dict[str, str]) -> tuple[str, ...]:
        """Return the parts in which this key differs from the nearest earlier key of the step."""
        best: tuple[str, ...] | None = None
        for path in sorted((self._folder / step).glob("[0-9a-f]*")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=_Record)
            except (OSError, msgspec.MsgspecError):
                continue  # a torn or damaged record says nothing
            changed = {name for name in {*parts, *record.parts} if parts.get(name) != record.parts.get(name)}
            if best is None or len(changed) < len(best):
                best = tuple(sorted(changed))
        return ("first run",) if best is None else best


def cache_flaws(folder: Path, known: Mapping[Digest, Digest]) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is wrong with the records of a `StepCache`: file, problem, expected, found.

    Parameters
    ----------
    folder
        That of the cache.
    known
        Results that are on record elsewhere, by key.
    """
    for path in sorted(folder.glob("*/[0-9a-f]*")):
        shown = path.relative_to(folder.parent).as_posix()
        try:
            record = msgspec.json.decode(path.read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError) as error:
            yield shown, "cannot be read", "a record", str(error)
            continue
        expected = known.get(Digest(path.name), record.result)
        if not record.holds(path.name):
            yield shown, "is not what was written", f"the record of {path.name[:12]}", "another"
        elif record.result != expected:
            yield shown, "names another result", f"digest {expected[:12]}", f"digest {record.result[:12]}"


class Pipeline:
    """Steps in an order in which each one's inputs come before it.

    Raises
    ------
    InvalidInput
        If two steps share a name, or a step needs one that is not there before it.
    """

    def __init__(self, steps: tuple[PipelineStep, ...]) -> None:
        seen: set[str] = set()
        for step in steps:
            missing = [need for need in step.needs.values() if isinstance(need, str) and need not in seen]
            if missing:
                problem = f"needs {missing[0]!r}, which does not come before it"
                raise InvalidInput("step", step.name, problem, hint="put steps in order")
            if step.name in seen:
                raise InvalidInput("step", step.name, "is there twice", hint="name each step once")
            seen.add(checked_name("step", step.name))
        self.steps = steps

    def run(self, cache: StepCache) -> PipelineResult:
        """Run what is not in `cache`, and return the result of every step.

        Raises
        ------
        UserCodeFailed
            If a step raised; results of the steps before it are kept.
        """
        results: PipelineResult = {}
        for step in self.steps:
            results[step.name] = _run_step(step, results, cache)
        return results


def _run_step(step: PipelineStep, results: PipelineResult, cache: StepCache) -> StepResult:
    parts = key_parts(step, {name: result.digest for name, result in results.items()})
    key = digest_of(parts)
    found = cache.find(step.name, key)
    if found is not None:
        return StepResult(_decoded(step, found[1]), found[0], key, hit=True)
    missed_for = cache.why_missed(step.name, parts)
    inputs = {
        name: need.load() if isinstance(need, Input) else results[need].value
        for name, need in step.needs.items()
    }
    with UserCode("step", step.name):
        value = step.run(**inputs)
    data = value if step.produces is bytes else canonical(value)
    if not isinstance(data, bytes):
        raise InvalidInput("step", step.name, "did not return bytes", got=type(value).__name__)
    # What is handed on is what a later hit would hand on, so a rerun cannot differ from the first run.
    return StepResult(_decoded(step, data), cache.keep(step.name, key, parts, data), key, False, missed_for)


def key_parts(step: PipelineStep, digests: Mapping[str, Digest]) -> dict[str, str]:
    """Return everything that the key of `step` depends on, each part named so that a miss can say what
    changed.
    """
    shape = () if step.produces is bytes else (step.produces,)
    closures = [code_closure(reached) for reached in (step.run, *step.code, *shape)]
    libraries = sorted({library for closure in closures for library in closure.libraries})
    here = environment(libraries)
    parts = {f"code {name}": part for closure in closures for name, part in closure.parts.items()}
    parts |= {f"library {name}": version for name, version in here.libraries.items()}
    for name, need in step.needs.items():
        parts[f"input {name}"] = need.digest if isinstance(need, Input) else digests[need]
    parts |= {f"parameter {name}": digest(canonical(value)) for name, value in step.params.items()}
    return parts | {
        "python": here.python,
        "platform": here.platform,
        "seed": str(step.seed),
        "schema": str(_SCHEMA),
    }


def _decoded(step: PipelineStep, data: bytes) -> Any:
    if step.produces is bytes:
        return data
    try:
        return msgspec.json.decode(data, type=step.produces)
    except msgspec.MsgspecError as error:
        expected = step.produces.__name__
        raise InvalidInput("step", step.name, f"did not return a {expected}", why=str(error)) from None
