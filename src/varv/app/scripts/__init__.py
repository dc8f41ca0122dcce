"""Scripts as runs: started with all that is known of them on record, swept, and run again.

`homes` reaches a home's tracking, `running` runs one script, `sweeping` many, `reproducing` runs one again in
a `checkout` of its source and one of the `environments` that it was run in.
"""
