"""Ingestion: sources pulled again and again, each time from where the last pull ended.

A pull commits rows and the place in the source together, so that it can end anywhere and goes on without
losing a row or counting one twice. What a source is lies in `data.sources`; a running server pulls in time
(`app.server`), and `varv data pull` when somebody asks.
"""
