"""varv from Python and notebooks: replays, homes that are read, and running servers, as objects with polars
frames and an HTML display.

The command line prints from the same objects. `varv.replay`, `varv.open` and `varv.connect` are the ways in.
"""
