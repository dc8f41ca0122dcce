"""`varv import` as one uses it."""

from __future__ import annotations

import json

from tests.adapters.moving import recorded

from varv.app.cli.parser import main


def test_a_store_comes_into_a_new_home(tmp_path, capsys):
    asked = ["--home", str(tmp_path / "home"), "import", "mlflow", recorded.store(tmp_path)]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "runs           5    0        0" in shown
    assert "and 5 whole runs" in shown
    assert main([*asked, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["runs"]["same"], report["differences"]["n"]) == (5, 0)


def test_what_cannot_be_taken_is_said_with_the_next_step(tmp_path, capsys):
    home = ["--home", str(tmp_path / "home"), "import"]
    assert main([*home, "mlflow", "sqlite:///nothing.db"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main([*home, "wandb", str(tmp_path)]) == 1
    assert "holds no runs of wandb" in capsys.readouterr().err
    assert main([*home, "elsewhere", "x"]) == 2
