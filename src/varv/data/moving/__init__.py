"""Contracts of other tools: schemas of Pandera and suites of Great Expectations, read and written as files.

Neither package is imported. What cannot be said in the other's words is listed, never left out silently.
`translation` is what a translation gives, `pandera_reading` and `pandera_writing`, `suite_reading` and
`suite_writing` do it, and `declaration` writes rules down as Python.
"""
