"""Contracts: what rows must be like, learned from a reference period and declared beside it.

`model` says what a contract and a declared expectation are, `expect` is how an author declares one,
`inference` learns, `rules` looks at batches, by `row_rules` for single rows and `batch_rules` for what
concerns several. `data.kept_contracts` keeps what the ledger must not hold.
"""
