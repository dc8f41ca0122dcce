"""Erasing one subject: all rows about somebody go, in every version and every place of a home, and the ledger
proves it without saying who it was.

A saga of few steps (`rules`), whose state is what the ledger says of it (`views`); `carrying` does what is
next, `rows` knows the tables, `searching` looks through every file.
"""
