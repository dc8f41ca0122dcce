"""Workflows of applications with language models: prompts and traces."""

from __future__ import annotations

import mlflow
from mlflow import MlflowClient
from seeing import UNIQUE, Seen, experiment


def prompts() -> Seen:
    name = f"prompt-{UNIQUE}"
    described = {"commit_message": "first", "tags": {"a": "1"}}
    first = mlflow.genai.register_prompt(name=name, template="Sum up {{ text }}.", **described)
    second = mlflow.genai.register_prompt(name=name, template="Sum up {{ text }} in {{ n }} words.")
    mlflow.genai.set_prompt_alias(name, alias="production", version=2)
    loaded = mlflow.genai.load_prompt(f"prompts:/{name}@production")
    earlier = mlflow.genai.load_prompt(name, version=1)
    found = mlflow.genai.search_prompts(filter_string=f"name = '{name}'")
    models = MlflowClient().search_registered_models(f"name = '{name}'")
    mlflow.genai.delete_prompt_alias(name, alias="production")
    return {
        "versions": [first.version, second.version],
        "loaded": loaded.format(text="this", n=3),
        "earlier": [earlier.template, earlier.commit_message, earlier.tags],
        "variables": sorted(loaded.variables),
        "found": [one.name for one in found],
        "n_models": len(models),
        "missing": mlflow.genai.load_prompt(name, version=9, allow_missing=True) is None,
    }


@mlflow.trace(name="double", attributes={"kind": "test"})
def double(number: int) -> int:
    with mlflow.start_span("inner") as span:
        span.set_inputs({"number": number})
        span.set_outputs(number * 2)
    return number * 2


def traces() -> Seen:
    experiment_id = experiment("traces")
    with mlflow.start_run() as run:
        double(21)
    double(4)
    mlflow.flush_trace_async_logging()
    trace_id = mlflow.get_last_active_trace_id()
    mlflow.set_trace_tag(trace_id, "team", "risk")
    mlflow.log_feedback(trace_id=trace_id, name="correct", value=True, rationale="it is")
    mlflow.log_expectation(trace_id=trace_id, name="expected", value=8)
    trace = mlflow.get_trace(trace_id)
    here = {"locations": [experiment_id], "return_type": "list"}
    found = mlflow.search_traces(**here)
    tagged = mlflow.search_traces(filter_string="tags.team = 'risk'", **here)
    of_run = mlflow.search_traces(run_id=run.info.run_id, **here)
    return {
        "spans": [[span.name, span.inputs, span.outputs, str(span.status)] for span in trace.data.spans],
        "state": str(trace.info.state),
        "assessments": sorted([one.name, one.value] for one in trace.info.assessments),
        "requests": sorted(str(one.data.request) for one in found),
        "tagged": [one.info.trace_id == trace_id for one in tagged],
        "n_of_run": len(of_run),
        "n_deleted": MlflowClient().delete_traces(experiment_id, trace_ids=[trace_id]),
    }
