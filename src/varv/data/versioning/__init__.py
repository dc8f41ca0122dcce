"""Versions of datasets: how they are named, how two differ, and which are kept.

`references` finds the version that a reference means, `difference` compares two, `keeping` gives names and
removes the files of versions that nothing needs, and `verbs` are the use cases. What makes versions is in
`data.service`, which nothing here changes.
"""
