"""Git as far as it is needed: hooks of a repository, and notes beside its commits."""

from varv.adapters.git.hooks import install, uninstall
from varv.adapters.git.notes import NOTES, note, noted

__all__ = ["NOTES", "install", "note", "noted", "uninstall"]
