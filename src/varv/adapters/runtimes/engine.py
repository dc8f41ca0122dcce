"""ONNX Runtime, which computes most models, without the reports that it would send of them.

Its builds for Linux upload what models they load and how they run to their maker, from a thread that begins
with the import. Nobody here has asked for that, and it is not ours to send.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def engine() -> Any:
    """Return the library; whoever wants the reports sets ``ORT_DISABLE_TELEMETRY=0``."""
    # It reads this once, as it is imported; processes that are started later inherit it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251
    import onnxruntime

    return onnxruntime
