"""Skew of a home: how served features are watched, hour by hour, what is on record of it, and alarms."""
