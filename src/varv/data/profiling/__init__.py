"""Profiles of datasets: of versions and windows, kept so that the next one reads only what came since, and
the anomalies found by them.

`keeping` makes and keeps profiles, `trained` those of training data, `watching` judges windows of a part by
those before, `rounds` does so for all datasets of a home that is served, `model` is what is put on record of
it, and `verbs` are the use cases.
What a profile is, is in `varv.profiles`.
"""
