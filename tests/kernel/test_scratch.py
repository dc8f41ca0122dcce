"""Temporary folders that go with whoever made them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile

from varv.kernel import scratch
from varv.kernel.scratch import Scratch


def test_a_folder_is_made_when_it_is_needed_and_goes_with_its_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = Scratch("feed")
    assert list(tmp_path.iterdir()) == []
    (scratch.path / "rows").write_text("1")
    assert [path.name.startswith("varv-scratch-feed-") for path in tmp_path.iterdir()] == [True]
    del scratch
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, monkeypatch):
    script = (
        "from varv.kernel.scratch import Scratch; import os; Scratch('feed').path; kept = Scratch('keys');"
    )
    script = f"{script} kept.path; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert list(tmp_path.glob("varv-scratch-keys-*"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "varv-scratch-other.txt").write_text("is no folder of ours")
    (tmp_path / "varv-scratch-new").mkdir()  # whose lock is about to be made
    held, scratch = Scratch("held"), Scratch("feed")
    kept = {held.path.name, scratch.path.name, "varv-scratch-other.txt", "varv-scratch-new"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_nobody_takes_a_folder_for_abandoned_before_its_lock_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    real = fcntl.flock

    def others_look(handle, how):
        if how == fcntl.LOCK_EX:
            # What another process does at that very moment.
            scratch._remove_abandoned()
        return real(handle, how)

    monkeypatch.setattr(scratch.fcntl, "flock", others_look)
    made = Scratch("feed")
    assert made.path.is_dir()
