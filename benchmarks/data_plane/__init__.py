"""What a prediction costs, of varv, of a bare handler and of other servers: see `bench_data_plane.py`."""
