"""Stores of packed features (`features.online.ports`): files of SQLite, and Redis."""
