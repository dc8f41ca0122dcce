"""Datasets as Delta tables: each part is one, in the folder that its files of rows lie in.

The ledger is the truth, and the log of a table follows from it. `publishing` commits what a version of a
dataset adds and removes, and brings a log that a crash or a copy left behind up to the ledger; `tables` is
what talks to the library, `log` reads what is written without it, `exporting` writes whole tables elsewhere,
`joined` puts parts together in SQL, and `checking` compares logs with the ledger for `varv verify`.
"""
