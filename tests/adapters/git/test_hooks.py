"""A hook notes commits and holds none up; what was in a repository before stays."""

from __future__ import annotations

import subprocess

import pytest

from varv.adapters.git import install, note, noted, uninstall
from varv.kernel.errors import FailedPrecondition, NotFound


def git(folder, *arguments):
    config = ["-c", "user.name=ana", "-c", "user.email=ana@example.org"]
    ended = subprocess.run(
        ["git", *config, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name, value in (("NAME", "ana"), ("EMAIL", "ana@example.org")):
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    git(tmp_path, "init", "-q")
    return tmp_path


def commit(folder, text="x"):
    git(folder, "commit", "-q", "--allow-empty", "-m", text)


def test_a_note_changes_no_commit(repository):
    commit(repository)
    before = git(repository, "rev-parse", "HEAD")
    assert note(repository, "one") == before
    note(repository, "two")
    assert noted(repository) == "two"
    assert git(repository, "rev-parse", "HEAD") == before
    commit(repository)
    with pytest.raises(NotFound, match="does not exist"):
        noted(repository)
    with pytest.raises(FailedPrecondition):
        noted(repository, "--all")


def test_an_installed_hook_runs_and_never_fails_a_commit(repository):
    for _ in range(2):
        install(repository, "touch seen; false")
    commit(repository)
    assert (repository / "seen").exists()
    assert len(uninstall(repository)) == 3
    assert not (repository / ".git" / "hooks" / "post-commit").exists()
    commit(repository)


def test_a_hook_that_is_there_goes_on(repository):
    hook = repository / ".git" / "hooks" / "post-commit"
    hook.write_text("#!/usr/bin/env bash\necho theirs >> theirs\nexit 0\n")
    hook.chmod(0o755)
    install(repository, "touch ours")
    commit(repository)
    assert (repository / "theirs").exists()
    assert (repository / "ours").exists()
    uninstall(repository)
    assert hook.read_text() == "#!/usr/bin/env bash\necho theirs >> theirs\nexit 0\n"


def test_a_hook_of_another_language_is_left_alone(repository):
    hook = repository / ".git" / "hooks" / "post-merge"
    hook.write_text("#!/usr/bin/env python3\nprint()\n")
    with pytest.raises(FailedPrecondition, match="post-merge"):
        install(repository, "true")
    assert not (repository / ".git" / "hooks" / "post-commit").exists()


def test_a_folder_without_a_repository_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(NotFound, match="no git repository"):
        install(tmp_path, "true")
