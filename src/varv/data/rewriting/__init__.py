"""Rewrites of datasets: what is said of them, which files they touch, and what takes the place of these."""
