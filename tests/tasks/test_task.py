"""What users declare: the constructors, as the page about tasks shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import varv
from varv.kernel.errors import InvalidDeclaration
from varv.tasks import Task, loading, task_of

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "tasks.md").read_text()
BLOCK = re.search(r"```python\n(import varv.*?)```", PAGE, re.DOTALL)
SHOWN = [line for line in BLOCK[1].splitlines() if line.startswith("varv.task.")] if BLOCK else []


@pytest.mark.parametrize("line", SHOWN)
def test_a_task_on_the_page_can_be_declared_and_kept(line):
    made = eval(line, {"varv": varv})
    assert isinstance(made, Task)
    assert task_of(made.spec) == made


def test_the_page_shows_every_task_with_its_losses_and_metrics():
    assert {task_of_line.split("(")[0].removeprefix("varv.task.") for task_of_line in SHOWN} == set(
        loading.BUILT_IN
    )
    for line in SHOWN:
        made = eval(line, {"varv": varv})
        rows = [row for row in PAGE.splitlines() if row.startswith(f"| {made.name} |")]
        assert len(rows) == 2
        assert all(loss in rows[0] for loss in made.losses)
        labels = {"auc": "AUC", "ece": "ECE", "mrr": "MRR", "ndcg": "NDCG", "r2": "R²", "rmse": "RMSE"}
        assert all(labels.get(name, name.replace("_", " ")) in rows[1] for name in made.metrics)


def test_arguments_are_given_by_name():
    with pytest.raises(TypeError):
        varv.task.regression((0, 1))
    with pytest.raises(InvalidDeclaration, match="bad classes"):
        varv.task.multiclass(classes="ABC")
