"""Rewrites of datasets: which files they touch, and what takes the place of these."""
