"""What `varv export pipeline` writes is read by those orchestrators, and run where no cluster is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from varv.app.cli.parser import main

FLOW = """
import varv

@varv.step
def rows(n: int = 3) -> list[int]:
    return list(range(n))

@varv.step(effect=True)
def sent(values: list[int]) -> int:
    return sum(values)

@varv.step
def few(values: list[int]) -> varv.Stop | None:
    return varv.Stop("too few") if len(values) < 2 else None

@varv.step
def told_on(total: int) -> str:
    return f"total {total}"

start = rows.bind()
a_flow = varv.Pipeline("a-flow", told_on.bind(sent.bind(start)).after(few.bind(start)))
"""
ORDER = {"rows": [], "sent": ["rows"], "few": ["rows"], "told_on": ["sent", "few"]}


class Exported:
    def __init__(self, folder, n=3):
        self.folder = folder
        self.flow = folder / "flow.py"
        self.flow.write_text(FLOW.replace("n: int = 3", f"n: int = {n}"))
        self.home = folder / "home"
        bin = folder / "bin"
        bin.mkdir()
        # The command `varv` of this environment, and none that the orchestrator's may have.
        source = Path(__file__).parents[2] / "src"
        script = bin / "varv"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} -m varv.app.cli "$@"\n')
        script.chmod(0o755)

    def write(self, orchestrator, name, *options):
        place = self.folder / name
        place.parent.mkdir(exist_ok=True)
        arguments = ["--as", orchestrator, "--to", str(place), *options]
        assert main(["--home", str(self.home), "export", "pipeline", str(self.flow), *arguments]) == 0
        return place

    def run(self, python, script, *arguments, **variables):
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        path = f"{self.folder / 'bin'}:{Path(python).parent}:{kept['PATH']}"
        found = subprocess.run(
            [python, "-c", script, *map(str, arguments)],
            cwd=self.folder,
            env=kept | {"PATH": path, "HOME": str(self.folder)} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr[-4000:] + found.stdout[-2000:]
        return json.loads(found.stdout.strip().splitlines()[-1])


@pytest.fixture
def exported(tmp_path):
    return Exported(tmp_path)


READ_DAG = """
import json, subprocess, sys
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
import inspect
wanted = {"dag_folder": sys.argv[1], "include_examples": False, "safe_mode": False}
bag = DagBag(**{k: v for k, v in wanted.items() if k in inspect.signature(DagBag.__init__).parameters})
assert not bag.import_errors, bag.import_errors
[dag] = bag.dags.values()
order = {one.task_id: sorted(one.upstream_task_ids) for one in dag.tasks}
ran = {}
for name in ("rows", "sent", "few", "told_on"):
    task = dag.get_task(name)
    env = {**__import__("os").environ, "PIPELINE_RUN": "manual__2026-01-01T00:00:00+00:00"}
    ran[name] = subprocess.run(["bash", "-c", task.bash_command], env=env).returncode
    assert task.skip_on_exit_code in (99, [99]), task.skip_on_exit_code
print(json.dumps({"id": dag.dag_id, "order": order, "ran": ran}))
"""


@pytest.mark.parametrize("peer", ["airflow-2", "airflow-3"])
@pytest.mark.parametrize(("n", "statuses"), [(3, [0, 0, 0, 0]), (1, [0, 0, 99, 99])])
def test_airflow_reads_the_file_and_its_commands_run(program, tmp_path, peer, n, statuses):
    exported = Exported(tmp_path, n)
    dags = exported.write("airflow", "dags/flow.py").parent
    variables = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    found = exported.run(program(peer), READ_DAG, dags, **variables)
    assert found["id"] == "a-flow"
    assert found["order"] == {name: sorted(before) for name, before in ORDER.items()}
    assert list(found["ran"].values()) == statuses


READ_IR = """
import json, sys
import yaml
from google.protobuf import json_format
from kfp import compiler, components
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
text = open(sys.argv[1]).read()
spec, platform = yaml.safe_load_all(text)
json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
for one in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
    json_format.ParseDict(one, kubernetes.KubernetesExecutorConfig())
loaded = components.load_component_from_text(text)
compiler.Compiler().compile(loaded, sys.argv[2])
again = next(yaml.safe_load_all(open(sys.argv[2])))
tasks = again["root"]["dag"]["tasks"]
order = {name: task.get("dependentTasks", []) for name, task in tasks.items()}
print(json.dumps({"order": order, "same": again["components"] == spec["components"]}))
"""


def test_kubeflow_takes_the_graph_and_compiles_it_to_the_same(program, exported):
    place = exported.write("kubeflow", "flow.yaml", "--image", "registry.example/flow:3", "--claim", "home")
    found = exported.run(program("kfp"), READ_IR, place, exported.folder / "again.yaml")
    assert found["same"]
    dashed = {name.replace("_", "--"): before for name, before in ORDER.items()}
    assert found["order"] == dashed


RUN_JOB = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("flow_job", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
result = module.job.execute_in_process(raise_on_error=False)
kinds = {}
for event in result.all_events:
    if event.event_type_value in ("STEP_SUCCESS", "STEP_SKIPPED", "STEP_FAILURE"):
        kinds[event.step_key] = event.event_type_value
print(json.dumps({"ok": result.success, "steps": kinds}))
"""


@pytest.mark.parametrize(("n", "last"), [(3, "STEP_SUCCESS"), (1, "STEP_SKIPPED")])
def test_dagster_runs_the_job_and_skips_what_is_behind_a_gate(program, tmp_path, n, last):
    exported = Exported(tmp_path, n)
    place = exported.write("dagster", "job.py")
    found = exported.run(program("dagster"), RUN_JOB, place, DAGSTER_HOME="")
    assert found["ok"]
    assert found["steps"] == {
        "rows": "STEP_SUCCESS",
        "sent": "STEP_SUCCESS",
        "few": "STEP_SUCCESS",
        "told_on": last,
    }


RUN_FLOW = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("flow_file", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(module.pipeline()))
"""


@pytest.mark.parametrize("n", [3, 1])
def test_prefect_runs_the_flow_and_skips_what_is_behind_a_gate(program, tmp_path, n):
    exported = Exported(tmp_path, n)
    place = exported.write("prefect", "prefect_flow.py")
    variables = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    found = exported.run(program("prefect"), RUN_FLOW, place, **variables)
    assert found == {"rows": True, "sent": True, "few": n == 3, "told_on": n == 3}
