"""Adapters: real engines behind the ports of the rooms below."""
