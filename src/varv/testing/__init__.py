"""Contract suites: what every adapter of a port must do, for whoever writes one.

A suite is a class of tests with a fixture to be given; a subclass in the adapter's own tests gives it. Needs
pytest, and nothing in varv imports it.
"""
