"""Answers that wait for a person: those that a model held back, or that stood in for it, as is declared.

Who waits follows from the prediction log and from what people have decided, which is on record; there is no
list that could be lost.
"""
