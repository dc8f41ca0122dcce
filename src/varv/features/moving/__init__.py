"""Moving in from Feast: its registry read as data, and a declaration written of it.

Nothing of a repository is run. `messages` takes the registry's messages apart, `registry` says what they
mean, `source_rows` looks at rows, `planning` and `planned` decide what becomes of each thing, `declaring`
writes that down, and `comparing` holds values of both against each other.
"""
