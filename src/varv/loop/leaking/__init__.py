"""Leaks: what shows that the past of a model knew more than a request will."""
