"""Conversations with a tracking server, as MLflow's own server holds them and as ours has to."""
