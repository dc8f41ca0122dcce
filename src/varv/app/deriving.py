"""Versions at the ends of pipelines: what a reference means when a run begins, its rows, and what is to
become a version.

Rows are read here, also beside a running server; a version is written by whoever owns the home.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from varv.app.client.sources import LocalSource
from varv.app.settings import Settings
from varv.data.versioning.deriving import DeriveRequest
from varv.data.versioning.references import parse_reference
from varv.data.versioning.staging import stage
from varv.kernel.clock import cpu_seconds, wall_seconds
from varv.kernel.codec import Digest
from varv.pipelines import (
    Made,
    Node,
    Pipeline,
    PipelineResult,
    PipelineStep,
    Runner,
    StepResult,
    Took,
    values,
)
from varv.pipelines.versions import rows_for_version, rows_of_version


class _Reading(NamedTuple):
    reference: str
    at: str


def with_versions(settings: Settings, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline that names each version it reads by its number.

    Raises
    ------
    NotFound
        If the home, or a version, is not there.
    """
    nodes = [node for node in pipeline.nodes if node.step is rows_of_version and not node.params["at"]]
    if not nodes:
        return pipeline
    source = LocalSource(settings.home)
    try:
        desk = source.desk.require_versions()
        named = {
            f"{node.name}.at": str(desk.version(parse_reference(str(node.params["reference"]))))
            for node in nodes
        }
    finally:
        source.close()
    return pipeline.with_params(named)


def reading_versions(settings: Settings, pipeline: Pipeline, runner: Runner) -> Runner:
    """Return what runs the steps that read versions here, and all others by `runner`."""
    reads = {
        node.name: _Reading(str(node.params["reference"]), str(node.params["at"]))
        for node in pipeline.nodes
        if node.step is rows_of_version
    }
    if not reads:
        return runner

    def run(step: PipelineStep, results: Mapping[str, StepResult], key: Digest) -> Made:
        if step.name not in reads:
            return runner(step, results, key)
        wall, cpu = wall_seconds(), cpu_seconds()
        reference, at = reads[step.name]
        source = LocalSource(settings.home)
        try:
            datasets = source.desk.require_versions().datasets
            dataset = datasets.registered(parse_reference(reference).dataset)
            data = values.encode(step.name, datasets.read(dataset, version=int(at)), step.produces)
        finally:
            source.close()
        return Made(data, Took(wall_seconds() - wall, cpu_seconds() - cpu))

    return run


def versions_made(
    settings: Settings, pipeline: Pipeline, results: PipelineResult, run: str
) -> Iterator[DeriveRequest]:
    """Yield the versions that a pipeline has made, each with what it was made from, to be written."""
    for node in pipeline.nodes:
        if node.step is rows_for_version and node.name in results:
            yield _request(settings, node, results[node.name], run)


def _request(settings: Settings, node: Node, result: StepResult, run: str) -> DeriveRequest:
    given = node.params
    return DeriveRequest(
        dataset=given["dataset"],
        key=tuple(given["key"]),
        event_time=given["event_time"],
        known_at={time: tuple(names) for time, names in given["known_at"].items()},
        staged=stage(settings.home, result.value),
        made_from=dict(_made_from(node)),
        run=run,
        step=node.name,
    )


def _made_from(node: Node) -> Iterator[tuple[str, int]]:
    if node.step is rows_of_version:
        yield parse_reference(str(node.params["reference"])).dataset, int(node.params["at"])
    for one in node.before:
        yield from _made_from(one)
