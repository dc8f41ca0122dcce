"""What is declared of a model over time, as the ledger states it."""
