"""What needs both rooms of tracking, runs and the registry: versions that come from runs and logged models,
the searches of both, and what is told to webhooks.
"""
