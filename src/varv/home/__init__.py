"""The home: one ledger, one store of data, one set of feature state, and many models with their loops.

`home` holds what is shared and, by name, what belongs to each model. `replay` feeds a stretch of the past
through it under a virtual clock; `live` keeps it at the present; `comparison` holds several policies against
each other, and `accounts` says what became of all rows.
"""
