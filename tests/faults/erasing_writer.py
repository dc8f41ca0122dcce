"""A process that erases a subject from a home, and may be killed at a named point; started by tests.

``python -m tests.faults.erasing_writer HOME [POINT:NTH:kill]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.home.erasure.people import ANA, People

from varv.kernel.faults import Faults


def erase(folder: Path, faults: Faults | None = None) -> None:
    """Ask for the erasure, or for the same one again, and carry it out."""
    home = People(folder, faults)
    home.erasures.carry(home.erasures.request("people", "email", ANA, by="ana"))
    home.close()


if __name__ == "__main__":
    erase(Path(sys.argv[1]), Faults.parse(sys.argv[2] if len(sys.argv) > 2 else ""))
