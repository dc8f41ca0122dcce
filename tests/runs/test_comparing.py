from __future__ import annotations

from varv.runs.comparing import Compared, differences, line_of, metric_differences, varying
from varv.runs.model import DatasetInput, InputTag, ModelOutput
from varv.runs.reading import Metric, Run
from varv.runs.series import Glance


def run(id, params=None, tags=None, metrics=None, **said):
    made = Run(1, id, "0", id, "ana", "FINISHED", False, 0, 1000, "mlflow-artifacts:/0")
    made.params, made.tags = dict(params or {}), dict(tags or {})
    made.metrics = [
        Metric(name, Glance(1, value, 9, 5, 0, 10, low, high, 0.0))
        for name, (value, low, high) in (metrics or {}).items()
    ]
    for name, value in said.items():
        setattr(made, name, value)
    return made


def rows(*runs, **how):
    compared = [one if isinstance(one, Compared) else Compared(one) for one in runs]
    return [(one.part, one.name, one.values) for one in differences(compared, **how)]


def test_only_what_differs_is_told():
    one, other = run("a", {"depth": "3", "kind": "tree"}), run("b", {"depth": "4", "kind": "tree"})
    assert rows(one, other) == [("param", "depth", ("3", "4"))]
    assert ("param", "kind", ("tree", "tree")) in rows(one, other, all_rows=True)
    assert rows(one, one) == []


def test_what_a_run_lacks_differs_from_what_another_has():
    assert rows(run("a", {"lr": ""}), run("b")) == [("param", "lr", ("", None))]


def test_code_data_models_artifacts_and_what_was_captured_are_compared():
    tag = "mlflow.source.git.commit"
    data = [
        DatasetInput(
            name="d", digest="1", source_type="", source="", tags=(InputTag("mlflow.data.context", "eval"),)
        )
    ]
    one = Compared(
        run("a", tags={tag: "ab"}, datasets=data, outputs=[ModelOutput("m-1", 3)]),
        {"model.bin": "f" * 64},
        {"lock.digest": "1"},
    )
    other = Compared(run("b", tags={tag: "cd"}), {"model.bin": "e" * 64}, {"lock.digest": "2"})
    assert rows(one, other) == [
        ("source", "commit", ("ab", "cd")),
        ("made from", "lock.digest", ("1", "2")),
        ("dataset", "d (eval)", ("1", None)),
        ("model", "made at step 3", ("m-1", None)),
        ("artifact", "model.bin", ("f" * 64, "e" * 64)),
    ]


def test_a_metric_differs_by_its_extremes_too():
    lines = [
        line_of(run(id, metrics={"loss": (0.1, 0.1, high), "same": (1.0, 1.0, 1.0)}))
        for id, high in (("a", 1.0), ("b", 2.0))
    ]
    found = metric_differences(lines)
    assert [one.name for one in found] == ["loss"]
    assert len(metric_differences(lines, all_rows=True)) == 2


def test_the_best_is_told_where_the_name_says_which_way_is_better():
    lines = [
        line_of(run(id, metrics={"val/loss": (loss, 0, 1), "val/auc": (auc, 0, 1), "epoch": (auc, 0, 1)}))
        for id, loss, auc in (("a", 0.3, 0.9), ("b", 0.2, 0.8), ("c", None, None))
    ]
    found = {one.name: (one.goal, one.best) for one in metric_differences(lines)}
    assert found == {"val/loss": ("min", 1), "val/auc": ("max", 0), "epoch": (None, -1)}


def test_what_varies_comes_first():
    lines = [
        line_of(
            run(
                id,
                {"kind": "tree", "depth": id},
                metrics={"a": (1.0, 0, 1), "z": (value, 0, 1), "system/x": (value, 0, 1)},
            )
        )
        for id, value in (("3", 0.1), ("4", 0.2))
    ]
    assert varying(lines) == (["depth"], ["z", "a"])
