"""Scripts in processes of their own, which end with all that they started."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from tests.app.serving import eventually

from varv.adapters import scripts
from varv.adapters.machine_metrics import MachineMetrics
from varv.adapters.scripts import run_script
from varv.kernel.errors import Unavailable


def run(tmp_path, code, *, stop=None, **more):
    file = tmp_path / "script.py"
    file.write_text(code)
    command = (sys.executable, "-u", str(file))
    return run_script(command, tmp_path, dict(os.environ), stop=stop or threading.Event(), **more)


def test_what_a_script_prints_is_passed_on_and_kept(tmp_path):
    parts = []
    ended = run(tmp_path, "import sys; print('one'); print('two', file=sys.stderr)", on_output=parts.append)
    assert (ended.status, ended.stopped) == (0, False)
    assert ended.output.text == b"".join(parts).decode() == "one\ntwo\n"


def test_the_exit_status_is_that_of_the_script(tmp_path):
    assert run(tmp_path, "raise SystemExit(3)").status == 3
    assert run(tmp_path, "import os; os.abort()").status == -6


def test_a_script_that_is_stopped_can_put_its_things_in_order(tmp_path):
    stop, begun = threading.Event(), tmp_path / "begun"
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        "time.sleep(60)\n"
    )
    ended = run(tmp_path, code, stop=stop, look=lambda: begun.exists() and stop.set())
    assert (ended.status, ended.stopped, ended.output.text) == (0, True, "saved\n")


def test_a_script_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "GRACE_S", 0.3)
    stop, begun = threading.Event(), tmp_path / "begun"
    code = (
        "import pathlib, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)\n"
    )
    ended = run(tmp_path, code, stop=stop, look=lambda: begun.exists() and stop.set())
    assert (ended.status, ended.stopped) == (-9, True)


def test_what_a_script_leaves_behind_is_ended(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    pid = int(run(tmp_path, code).output.text)
    eventually(lambda: True if not _is_running(pid) else None)


def test_what_cannot_be_started_is_named(tmp_path):
    with pytest.raises(Unavailable, match="cannot be started"):
        run_script(("/none/python", "x.py"), tmp_path, {}, stop=threading.Event())


def test_the_machine_is_measured_under_the_names_of_mlflow(tmp_path):
    found = MachineMetrics(tmp_path).read()
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/disk_usage_percentage",
        "system/disk_available_megabytes",
        "system/network_receive_megabytes",
    } <= set(found)
    assert all(0 <= value <= 100 for name, value in found.items() if name.endswith("_percentage"))


def _is_running(pid):
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
        return said.rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
