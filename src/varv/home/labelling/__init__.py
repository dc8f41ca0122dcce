"""Labelling in a home: rows of requests for people, their labels as outcomes, and what both say.

The rules are in `labels`; here they meet what is stored. There is one queue: of a request that waits for a
review (`home.review`) the label is the decision too.
"""
