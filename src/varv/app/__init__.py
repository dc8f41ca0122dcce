"""The app: settings, command line, server and workers; the only layer that builds parts and joins them."""
