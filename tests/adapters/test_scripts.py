"""Scripts in processes of their own, which end with all that they started."""

from __future__ import annotations

import os
import subprocess
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


@pytest.mark.parametrize("ends", [True, False], ids=["that ends when asked", "that does not"])
def test_a_script_whose_starter_is_killed_is_ended_with_what_it_started(tmp_path, ends):
    script, pids, saved = tmp_path / "script.py", tmp_path / "pids", tmp_path / "saved"
    asked = f"pathlib.Path({str(saved)!r}).touch(), {'sys.exit()' if ends else 'None'}"
    script.write_text(
        "import os, pathlib, signal, subprocess, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: ({asked}))\n"
        "apart = subprocess.Popen(['sleep', '600'], start_new_session=True).pid\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{apart}}\\n')\n"
        "while True: time.sleep(60)\n"
    )
    starter = (
        "import os, pathlib, threading\n"
        "from varv.adapters import scripts\n"
        "scripts.GRACE_S = 0.5\n"
        f"command, folder = ({sys.executable!r}, {str(script)!r}), pathlib.Path({str(tmp_path)!r})\n"
        "scripts.run_script(command, folder, dict(os.environ), stop=threading.Event())\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter]) as process:
        started = eventually(lambda: (pids.is_file() and pids.read_text().split()) or None)
        process.kill()
    eventually(lambda: True if not any(_is_running(pid) for pid in started) else None)
    assert saved.exists()


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
