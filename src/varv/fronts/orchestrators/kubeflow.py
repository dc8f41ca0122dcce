"""A pipeline as Kubeflow's intermediate representation, schema 2.1.0: a container a step.

A gate writes whether the way on is open, and each step behind it runs on that condition. Kubeflow's own
libraries refuse unknown fields and let a missing component or a cycle pass, so graphs are checked here.
Source: ``pipeline_spec.proto`` and ``kubernetes_executor_config.proto`` of kubeflow/pipelines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from varv import __version__
from varv.fronts.orchestrators.model import Outer, OuterStep
from varv.fronts.yaml import Document, documents_in_yaml
from varv.kernel.errors import InvalidInput

OPEN = "open"
_IMAGE = re.compile(r"[a-z0-9][\w.:/@-]{0,254}", re.ASCII)
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def kubeflow(given: Outer, *, image: str, claim: str) -> str:
    """Return the representation as YAML.

    Parameters
    ----------
    image
        Has varv and the pipeline's file.
    claim
        The volume claim that the home is on, which all steps share.

    Raises
    ------
    InvalidInput
        If the image or the claim is missing or no name.
    """
    if not _IMAGE.fullmatch(image):
        hint = "give one that has varv and the file, such as registry.example/flow:3"
        raise InvalidInput("option", "--image", "is no image", given=image[:80], hint=hint)
    if not _CLAIM.fullmatch(claim):
        hint = "name the volume claim that the home is on"
        raise InvalidInput("option", "--claim", "is no name", given=claim[:80], hint=hint)
    spec = pipeline_spec(given, image)
    require_sound(spec)
    return documents_in_yaml([spec, _platform(given, claim)])


def pipeline_spec(given: Outer, image: str) -> Document:
    """Return the specification of a pipeline."""
    names = {step.name: _dashed(step.name) for step in given.steps}
    return {
        "pipelineInfo": {"name": _dashed(given.name)},
        "schemaVersion": "2.1.0",
        "sdkVersion": f"varv-{__version__}",
        "components": {f"comp-{names[one.name]}": _component(given, one) for one in given.steps},
        "deploymentSpec": {
            "executors": {f"exec-{names[one.name]}": _executor(given, one, image) for one in given.steps}
        },
        "root": {"dag": {"tasks": {names[one.name]: _task(given, one) for one in given.steps}}},
    }


def require_sound(spec: Mapping[str, Any]) -> None:
    """Check that a specification names only what is there, and that its tasks can be put in order.

    Raises
    ------
    InvalidInput
        If a component, an executor or a producer is missing, an input is not declared, or tasks wait for each
        other.
    """
    tasks = spec["root"]["dag"]["tasks"]
    executors = spec["deploymentSpec"]["executors"]
    for name, task in tasks.items():
        component = spec["components"].get(task["componentRef"]["name"])
        if component is None or component["executorLabel"] not in executors:
            raise InvalidInput("task", name, "has no component or no executor", hint="export it again")
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        if set(_producers(task)) != set(declared):
            raise InvalidInput("task", name, "is given other inputs than it declares", hint="export it again")
        for one, (producer, key) in _producers(task).items():
            of = spec["components"].get(tasks.get(producer, {}).get("componentRef", {}).get("name"), {})
            if key not in of.get("outputDefinitions", {}).get("parameters", {}):
                problem = f"takes {one!r} of a task that does not give it"
                raise InvalidInput("task", name, problem, producer=producer, hint="export it again")
    _require_order({name: set(_waits_for(task)) for name, task in tasks.items()})


def _require_order(before: Mapping[str, set[str]]) -> None:
    done: set[str] = set()
    while len(done) < len(before):
        ready = [name for name, needed in before.items() if name not in done and needed <= done]
        if not ready:
            name = next(name for name in before if name not in done)
            raise InvalidInput("task", name, "waits for what never ends", hint="export it again")
        done.update(ready)


def _waits_for(task: Mapping[str, Any]) -> Iterator[str]:
    yield from task.get("dependentTasks", ())
    yield from (producer for producer, _ in _producers(task).values())


def _producers(task: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    given = task.get("inputs", {}).get("parameters", {})
    taken = {name: one["taskOutputParameter"] for name, one in given.items()}
    return {name: (one["producerTask"], one["outputParameterKey"]) for name, one in taken.items()}


def _component(given: Outer, step: OuterStep) -> dict[str, Any]:
    made: dict[str, Any] = {"executorLabel": f"exec-{_dashed(step.name)}"}
    if gates := given.gates_before(step.name):
        made["inputDefinitions"] = {"parameters": {_input(one): _BOOLEAN_TEXT for one in gates}}
    if step.is_gate:
        made["outputDefinitions"] = {"parameters": {OPEN: _BOOLEAN_TEXT}}
    return made


def _executor(given: Outer, step: OuterStep, image: str) -> dict[str, Any]:
    program, *arguments = given.command
    arguments += ["--run", "{{$.pipeline_job_uuid}}"]
    if step.is_gate:
        arguments += ["--open-to", f"{{{{$.outputs.parameters['{OPEN}'].output_file}}}}"]
    return {"container": {"image": image, "command": [program], "args": [*arguments, step.name]}}


def _task(given: Outer, step: OuterStep) -> dict[str, Any]:
    name = _dashed(step.name)
    # What is found again is varv's to say, which knows why.
    made: dict[str, Any] = {
        "componentRef": {"name": f"comp-{name}"},
        "taskInfo": {"name": name},
        "cachingOptions": {},
    }
    gates = given.gates_before(step.name)
    if before := list(dict.fromkeys(map(_dashed, (*step.before, *gates)))):
        made["dependentTasks"] = before
    if gates:
        made["inputs"] = {"parameters": {_input(one): _taken(one) for one in gates}}
        conditions = (f"inputs.parameter_values['{_input(one)}'] == 'true'" for one in gates)
        made["triggerPolicy"] = {"condition": " && ".join(conditions)}
    return made


def _taken(gate: str) -> dict[str, Any]:
    return {"taskOutputParameter": {"outputParameterKey": OPEN, "producerTask": _dashed(gate)}}


def _platform(given: Outer, claim: str) -> Document:
    """Return what mounts the home in every step."""
    mount = {"constant": claim, "mountPath": given.home}
    executors = {f"exec-{_dashed(step.name)}": {"pvcMount": [mount]} for step in given.steps}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _input(gate: str) -> str:
    return f"{_dashed(gate)}-{OPEN}"


def _dashed(name: str) -> str:
    # No name of ours has two hyphens in a row.
    return name.replace("_", "--")


_BOOLEAN_TEXT = {"parameterType": "STRING"}
