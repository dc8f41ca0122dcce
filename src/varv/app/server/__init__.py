"""The server: one process that owns a home, and the processes that answer predictions for it."""
