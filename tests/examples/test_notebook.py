"""The notebook is run cell by cell, as a notebook runs it, and what it shows is looked at."""

from __future__ import annotations

import ast
import json
import linecache
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "parcels.ipynb"


def run(source: str, name: str, namespace: dict[str, Any]) -> object:
    """Run a cell, and return the value of its last line if that is an expression."""
    # As a notebook does, so that the source of functions is found.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    return None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text())["cells"]


def test_the_notebook_is_kept_without_what_it_printed():
    for cell in cells():
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
def test_every_cell_runs_and_shows_what_the_text_says(capsys):
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown: list[Any] = []
    for number, cell in enumerate(cells()):
        if cell["cell_type"] == "code":
            value = run("".join(cell["source"]), f"<cell {number}>", namespace)
            shown += [value] if value is not None else []
    assert all(one._repr_html_() for one in shown)
    result = namespace["result"]
    gain = result.gains.row(0, named=True)
    assert (gain["policy"], gain["over"]) == ("declared", "never")
    assert gain["low"] > 0
    assert result.policies["n_retrains"].to_list()[1] == 0
    assert "late-parcel" in shown[-1]._repr_html_()
    assert "v1 promoted" in capsys.readouterr().err
    result.close()
