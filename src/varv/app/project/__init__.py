"""The project that `varv init` writes: `deliveries.py` is copied as it stands, its data is made by `app.starting`."""
