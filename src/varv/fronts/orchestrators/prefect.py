"""A pipeline as a file of Prefect 3: a flow of tasks, each of which runs a command.

Source: Prefect's documentation of `submit` and of results handed to tasks, which wait for them.
"""

from __future__ import annotations

from varv.fronts.orchestrators.model import SHUT, Outer

_FILE = '''\
"""Pipeline {name} of varv for Prefect 3; `varv export pipeline` writes it anew."""

import subprocess

from prefect import flow, runtime, task

COMMAND = {command!r}
STEPS = {steps!r}


@task(task_run_name="{{step}}")
def run_step(step, run, before):
    """Run a step, and return whether those that come after it may run."""
    if not all(before):
        return False
    status = subprocess.run([*COMMAND, "--run", run, step]).returncode
    if status not in (0, {shut}):
        raise RuntimeError(f"step {{step}} ended with status {{status}}")
    return status == 0


@flow(name={name!r})
def pipeline():
    """Run all steps, each once those before it have ended."""
    run, done = str(runtime.flow_run.id), {{}}
    for step, before in STEPS.items():
        done[step] = run_step.submit(step, run, [done[name] for name in before])
    return {{step: one.result() for step, one in done.items()}}


if __name__ == "__main__":
    pipeline()
'''


def prefect(given: Outer) -> str:
    """Return the file."""
    return _FILE.format(name=given.name, command=given.command, steps=dict(given.order), shut=SHUT)
