"""A pipeline as one file for Airflow, 2.11 and 3: a task a step, each a command.

Source: Airflow's documentation of `BashOperator`, whose place has changed between the two, and whose exit
status 99 means that a task is skipped, and with it those that come after it.
"""

from __future__ import annotations

import shlex

from varv.fronts.orchestrators.model import SHUT, Outer

_FILE = '''\
"""Pipeline {name} of varv for Airflow 2.11 and 3; `varv export pipeline` writes it anew."""

from datetime import datetime, timezone

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow.operators.bash import BashOperator

COMMAND = {command!r}
STEPS = {steps!r}

with DAG(
    dag_id={name!r},
    schedule={schedule!r},
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    tags=["varv"],
) as dag:
    tasks = {{
        step: BashOperator(
            task_id=step,
            bash_command=COMMAND + " --run \\"$PIPELINE_RUN\\" " + step,
            env={{"PIPELINE_RUN": "{{{{ run_id }}}}"}},
            append_env=True,
            retries=0,
            skip_on_exit_code={shut},
        )
        for step in STEPS
    }}
    for step, before in STEPS.items():
        for name in before:
            tasks[name] >> tasks[step]
'''


def airflow(given: Outer) -> str:
    """Return the file."""
    return _FILE.format(
        name=given.name,
        command=shlex.join(given.command),
        steps=dict(given.order),
        schedule=given.schedule or None,
        shut=SHUT,
    )
