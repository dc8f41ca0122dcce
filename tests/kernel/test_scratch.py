"""Temporary folders that go with whoever made them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from varv.kernel.scratch import Scratch


def test_a_folder_is_made_when_it_is_needed_and_goes_with_its_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = Scratch("feed")
    assert list(tmp_path.iterdir()) == []
    (scratch.path / "rows").write_text("1")
    assert [path.name.startswith(f"varv-{os.getpid()}-feed-") for path in tmp_path.iterdir()] == [True]
    del scratch
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, monkeypatch):
    script = (
        "from varv.kernel.scratch import Scratch; import os; Scratch('feed').path; kept = Scratch('keys');"
    )
    script = f"{script} kept.path; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert list(tmp_path.glob("varv-*-keys-*"))
    (tmp_path / "varv-12-other.txt").write_text("is no folder of ours")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = Scratch("feed")
    own = scratch.path.name
    assert {path.name for path in tmp_path.iterdir()} == {own, "varv-12-other.txt"}
