"""Repositories of git, as authors of scripts have them."""

from __future__ import annotations

import os
import subprocess


class Repository:
    def __init__(self, folder, **files):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.email", "ana@example.org")
        self.git("config", "user.name", "Ana")
        self.write(**{"train.py": "print('fitted')\n", **files})
        self.commit()

    def git(self, *arguments):
        command = ("git", *arguments)
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def write(self, **files):
        for name, content in files.items():
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "work")
        return self.git("rev-parse", "HEAD").strip()

    def files(self):
        return contents(self.folder)


def contents(folder):
    """Return the files of a working tree, by path."""
    return {
        str(place.relative_to(folder)): place.read_bytes()
        for place in sorted(folder.rglob("*"))
        if place.is_file() and ".git" not in place.relative_to(folder).parts
    }


def variables(**more):
    return {**os.environ, **more}
