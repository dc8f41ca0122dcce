"""Profiles: what a table is like, in memory that does not grow with its rows, and merged without reading them
again; what moved between two; and which numbers of a new version are unlike those of the ones before.

Knows the kernel and statistics only: frames in, plain values out. `varv.data` says which rows they are of,
and `varv.fronts.web` draws them.
"""

from varv.profiles.profile import Profile, merged, profile_of
from varv.profiles.scale import Scale, scale_of

__all__ = ["Profile", "Scale", "merged", "profile_of", "scale_of"]
