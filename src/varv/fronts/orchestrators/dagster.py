"""A pipeline as a file of Dagster: a job of ops, each of which runs a command.

Source: Dagster's documentation of graphs built from dependencies, of `Nothing`, and of outputs that are not
required: ops behind one that is not given are skipped.
"""

from __future__ import annotations

from varv.fronts.orchestrators.model import SHUT, Outer

_FILE = '''\
"""Pipeline {name} of varv for Dagster; `varv export pipeline` writes it anew."""

import subprocess

from dagster import (
    Definitions,
    DependencyDefinition,
    Failure,
    GraphDefinition,
    In,
    Nothing,
    OpDefinition,
    Out,
    Output,
)

COMMAND = {command!r}
STEPS = {steps!r}


def named(step):
    return step.replace("-", "__")


def op_of(step, before):
    def run(context, _inputs):
        status = subprocess.run([*COMMAND, "--run", context.run_id, step]).returncode
        if status == 0:
            yield Output(None, "done")
        elif status != {shut}:
            raise Failure(f"step {{step}} ended with status {{status}}")

    return OpDefinition(
        compute_fn=run,
        name=named(step),
        ins={{named(one): In(Nothing) for one in before}},
        outs={{"done": Out(Nothing, is_required=False)}},
    )


graph = GraphDefinition(
    name={job!r},
    node_defs=[op_of(step, before) for step, before in STEPS.items()],
    dependencies={{
        named(step): {{named(one): DependencyDefinition(named(one), "done") for one in before}}
        for step, before in STEPS.items()
    }},
)
job = graph.to_job()
defs = Definitions(jobs=[job])
'''


def dagster(given: Outer) -> str:
    """Return the file."""
    return _FILE.format(
        name=given.name,
        job=given.name.replace("-", "__"),
        command=given.command,
        steps=dict(given.order),
        shut=SHUT,
    )
