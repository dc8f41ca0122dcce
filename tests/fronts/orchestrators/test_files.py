"""Files for orchestrators of others hold every step once, in order, and nothing that runs by itself."""

from __future__ import annotations

import ast
import copy
import shlex

import pytest
import yaml

import varv
from varv.fronts.orchestrators import airflow, dagster, kubeflow, outer, prefect
from varv.fronts.orchestrators.kubeflow import pipeline_spec, require_sound
from varv.kernel.errors import InvalidInput


@varv.step
def made(n: int) -> int:
    return n


@varv.step
def few(n: int) -> varv.Stop | None:
    return None


@varv.step
def told_on(n: int) -> int:
    return n


start = made.bind(n=1)
gate = few.bind(start)
middle = told_on.bind(start).after(gate)
PIPELINE = varv.Pipeline("a-flow", told_on.bind(middle).named("end-2"))
ORDER = {"made": [], "few": ["made"], "told_on": ["made", "few"], "end-2": ["told_on"]}
PLACE, HOME = "/work/it's here/flow.py:pipeline", "/data/$HOME"


def given(**options):
    return outer(PIPELINE, place=PLACE, home=HOME, **options)


def constants(text):
    """Return the constants of a file, which is read and never run."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id.isupper():
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def command():
    digest = PIPELINE.digest[:16]
    return ["varv", "--home", HOME, "pipeline", "step", PLACE, "--expect", digest]


@pytest.mark.parametrize("write", [airflow, dagster, prefect])
def test_a_file_holds_the_steps_in_order_and_the_command_of_each(write):
    found = constants(write(given()))
    assert list(found["STEPS"].items()) == list(ORDER.items())
    said = found["COMMAND"]
    # What a shell reads of it are these words, whatever is in them.
    assert (shlex.split(said) if isinstance(said, str) else said) == command()


@pytest.mark.parametrize("write", [airflow, dagster, prefect])
def test_a_file_needs_nothing_of_varv_where_it_is_read(write):
    nodes = list(ast.walk(ast.parse(write(given()))))
    named = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    named += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not any(name.startswith("varv") for name in named)


def test_a_schedule_is_airflows_own():
    assert "schedule='0 4 * * *'" in airflow(given(schedule="0 4 * * *"))
    assert "schedule=None" in airflow(given())


@pytest.mark.parametrize("sign", ["{{ var.value.password }}", "{% raw %}", "{{$.x}}", "a\nb"])
def test_a_path_that_a_template_would_read_is_refused(sign):
    with pytest.raises(InvalidInput, match="holds signs that templates read"):
        outer(PIPELINE, place=f"/work/{sign}.py", home=HOME)


def test_kubeflow_is_told_of_order_gates_and_the_shared_home():
    spec, platform = yaml.safe_load_all(kubeflow(given(), image="registry.example/flow:3", claim="home"))
    tasks = spec["root"]["dag"]["tasks"]
    assert list(tasks) == ["made", "few", "told--on", "end-2"]
    assert tasks["told--on"]["dependentTasks"] == ["made", "few"]
    condition = "inputs.parameter_values['few-open'] == 'true'"
    assert tasks["end-2"]["triggerPolicy"] == {"condition": condition}
    assert "triggerPolicy" not in tasks["few"]
    container = spec["deploymentSpec"]["executors"]["exec-few"]["container"]
    assert [*container["command"], *container["args"][:7]] == command()
    assert container["args"][-3:] == ["--open-to", "{{$.outputs.parameters['open'].output_file}}", "few"]
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert mounts["exec-made"]["pvcMount"] == [{"constant": "home", "mountPath": HOME}]


@pytest.mark.parametrize(
    ("image", "claim", "problem"),
    [
        ("", "home", "'--image' is no image"),
        ("a b", "home", "is no image"),
        ("a:1", "Home", "'--claim' is no name"),
    ],
)
def test_kubeflow_needs_an_image_and_a_claim(image, claim, problem):
    with pytest.raises(InvalidInput, match=problem):
        kubeflow(given(), image=image, claim=claim)


def cut(spec, *path):
    for one in path[:-1]:
        spec = spec[one]
    del spec[path[-1]]


TASKS = ("root", "dag", "tasks")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda spec: cut(spec, "components", "comp-made"), "no component or no executor"),
        (
            lambda spec: cut(spec, "deploymentSpec", "executors", "exec-few"),
            "has no component or no executor",
        ),
        (lambda spec: cut(spec, *TASKS, "made"), "waits for what never ends"),
        (lambda spec: cut(spec, *TASKS, "few"), "that does not give it"),
        (
            lambda spec: cut(spec, "components", "comp-few", "outputDefinitions"),
            "of a task that does not give it",
        ),
        (
            lambda spec: cut(spec, "components", "comp-end-2", "inputDefinitions"),
            "other inputs than it declares",
        ),
        (lambda spec: cut(spec, *TASKS, "end-2", "inputs"), "inputs than it declares"),
        (
            lambda spec: spec["root"]["dag"]["tasks"]["made"].update(dependentTasks=["end-2"]),
            "waits for what never ends",
        ),
    ],
)
def test_a_damaged_graph_is_found(damage, problem):
    spec = copy.deepcopy(pipeline_spec(given(), "a:1"))
    require_sound(spec)
    damage(spec)
    with pytest.raises(InvalidInput, match=problem):
        require_sound(spec)
