"""What is captured of a script's source, of real repositories."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.runs.repositories import Repository, contents, variables

from varv.app.scripts.checkout import checked_out
from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.runs import source
from varv.runs.source import MOST_FILE_BYTES, source_of


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "project", **{"lib/steps.py": "RATE = 1\n", "data.bin": b"\0\1\2"})


def taken(repository, **more):
    return source_of(repository.folder, variables(), **more)


def checking_out(repository, found, place):
    return checked_out(found.source, found.patch, repository=repository, place=place, variables=variables())


def test_a_clean_repository_is_its_commit(repository):
    repository.git("remote", "add", "origin", "https://ana:secret@git.example/flights.git")
    found = taken(repository)
    assert found.source.commit == repository.git("rev-parse", "HEAD").strip()
    assert (found.source.branch, found.source.remote) == ("main", "https://git.example/flights.git")
    assert found.source.patch is None
    assert found.patch == b""


def test_what_is_not_committed_comes_back_with_a_checkout(repository, tmp_path):
    repository.write(**{"train.py": "print('other')\n", "data.bin": b"\0\3", "new/ä b.py": "NEW = 1\n"})
    repository.write(**{"empty.txt": "", "binary.npy": bytes(range(256))})
    (repository.folder / "lib/steps.py").unlink()
    found = taken(repository)
    with checking_out(repository.folder, found, tmp_path / "again") as root:
        assert contents(root) == repository.files()
    assert not (tmp_path / "again").exists()
    assert repository.git("worktree", "list").count("\n") == 1


def test_capturing_changes_nothing_in_the_repository(repository):
    repository.write(**{"train.py": "print('other')\n", "new.py": "NEW = 1\n"})
    repository.git("add", "train.py")
    before, index = repository.git("status", "--porcelain"), (repository.folder / ".git/index").read_bytes()
    taken(repository)
    assert repository.git("status", "--porcelain") == before
    assert (repository.folder / ".git/index").read_bytes() == index


def test_ignored_files_large_ones_and_the_home_are_left_out(repository):
    repository.write(**{".gitignore": "*.tmp\n", "a.tmp": "x", "home/ledger.db": "x", "ok.py": "OK = 1\n"})
    repository.write(**{"large.bin": bytes(MOST_FILE_BYTES + 1)})
    found = taken(repository, without=repository.folder / "home")
    assert found.source.left_out == ("large.bin",)
    assert b"ok.py" in found.patch
    assert b"a.tmp" not in found.patch
    assert b"ledger.db" not in found.patch


def test_files_that_hold_secrets_are_left_out_unless_committed(repository):
    secret = {".env": "KEY=s3cret", "deploy/server.key": "s3cret", "aws_credentials.json": "s3cret"}
    repository.write(**secret)
    found = taken(repository)
    assert set(found.source.left_out) == set(secret)
    assert b"s3cret" not in found.patch


def test_settings_of_the_repository_do_not_change_the_patch(repository):
    repository.write(**{"train.py": "print('other')\n", "new.py": "NEW = 1\n"})
    plain = taken(repository).patch
    for name, value in (("diff.noprefix", "true"), ("color.diff", "always"), ("diff.external", "false")):
        repository.git("config", name, value)
    assert taken(repository).patch == plain


def test_a_repository_that_the_environment_names_is_not_asked(repository, tmp_path):
    other = Repository(tmp_path / "other")
    found = source_of(repository.folder, variables(GIT_DIR=str(other.folder / ".git")))
    assert found.source.commit == repository.git("rev-parse", "HEAD").strip()


def test_a_folder_below_the_root_is_remembered(repository):
    found = source_of(repository.folder / "lib", variables())
    assert found.source.folder == "lib"
    assert found.root == repository.folder


def test_a_folder_without_repository_is_a_patch_against_nothing(tmp_path):
    loose = tmp_path / "loose"
    for name in ("train.py", "lib/steps.py", "pyproject.toml", "data.csv", ".venv/x.py", "env/pyvenv.cfg"):
        (loose / name).parent.mkdir(parents=True, exist_ok=True)
        (loose / name).write_text(f"{name}\n")
    (loose / "env/x.py").write_text("x\n")
    found = source_of(loose, variables())
    assert found.source.commit == ""
    with checking_out(loose, found, tmp_path / "again") as root:
        assert sorted(contents(root)) == ["lib/steps.py", "pyproject.toml", "train.py"]


def test_of_a_folder_like_a_disk_the_nearest_sources_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MOST_LOOKED_AT", 10)
    for name in ("a/deep/far.py", *(f"a/{n}.bin" for n in range(20)), "near.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    found = source_of(tmp_path, variables())
    assert b"near.py" in found.patch
    assert b"far.py" not in found.patch
    assert found.source.left_out == ("what lies deeper in a folder of so many files",)


def test_a_repository_without_commits_is_a_patch_against_nothing(tmp_path):
    (tmp_path / "train.py").write_text("print(1)\n")
    Repository.git(type("Empty", (), {"folder": tmp_path})(), "init", "--quiet")
    found = source_of(tmp_path, variables())
    assert found.source.commit == ""
    assert b"train.py" in found.patch


def test_a_commit_that_is_not_there_is_named_with_its_remote(repository, tmp_path):
    repository.git("remote", "add", "origin", "https://git.example/flights.git")
    found = taken(repository)
    other = Repository(tmp_path / "other", **{"other.py": "x"})
    with (
        pytest.raises(FailedPrecondition, match=r"not in this repository.*https://git.example/flights.git"),
        checking_out(other.folder, found, tmp_path / "again"),
    ):
        pass


def test_a_patch_that_is_another_is_refused(repository, tmp_path):
    repository.write(**{"train.py": "print('other')\n"})
    found = taken(repository)
    with (
        pytest.raises(Corrupt, match="is not what was captured"),
        checking_out(repository.folder, found._replace(patch=b"evil"), tmp_path / "again"),
    ):
        pass


@pytest.mark.parametrize("path", ["../outside.py", ".git/hooks/post-checkout", "link/outside.py"])
def test_a_patch_cannot_write_outside_of_its_tree(repository, tmp_path, path):
    (repository.folder / "link").symlink_to(tmp_path)
    repository.commit()
    patch = (
        f"diff --git a/{path} b/{path}\nnew file mode 100755\n--- /dev/null\n+++ b/{path}\n"
        "@@ -0,0 +1 @@\n+evil\n"
    ).encode()
    clean = taken(repository)
    found = clean._replace(source=replace(clean.source, patch=digest(patch)), patch=patch)
    with (
        pytest.raises(FailedPrecondition, match="git 'apply' has refused"),
        checking_out(repository.folder, found, tmp_path / "again"),
    ):
        pass
    assert not (tmp_path / "outside.py").exists()


def test_hooks_of_the_repository_do_not_run(repository, tmp_path):
    hook = repository.folder / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    with checking_out(repository.folder, taken(repository), tmp_path / "again"):
        pass
    assert not (tmp_path / "hooked").exists()
