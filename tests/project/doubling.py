"""A function that transforms answers, in a file of its own as such functions have to be."""

from __future__ import annotations


def doubled(columns):
    """Return twice the probability."""
    return {"double": [value * 2 for value in columns["probability"]]}
