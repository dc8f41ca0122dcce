"""What the owner, the supervisor and the runner of a job agree on before there is a job.

It imports nothing of varv, since the supervisor hardly does.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

GO = b"g"
WHERE = b"w"

SIGNAL_OF_WHERE = signal.SIGXCPU
"""Makes the runner write down where it is; by its name meant for jobs that take too long."""


class Birth(NamedTuple):
    """What a supervisor is started with, as its arguments in this order."""

    order: int
    """File descriptor of the order and the job."""
    where: int
    """File descriptor to which the runner's place in its code is written when it is asked or crashes."""
    nice: int
    idle_s: float
    """Without a job for so long, it ends."""
    folder: str
    """The job's own folder, removed by the owner at the end, or if that is gone by the supervisor."""
    preload: str
    """Modules that the runner imports while it waits, with commas between."""

    @property
    def answer(self) -> str:
        """The file of the answer and the result."""
        return f"{self.folder}/answer"

    @property
    def scratch(self) -> str:
        """The folder for the job's temporary files."""
        return f"{self.folder}/tmp"

    @property
    def arguments(self) -> list[str]:
        """What `parsed` reads."""
        return [str(part) for part in self]

    @classmethod
    def parsed(cls, arguments: list[str]) -> Birth:
        """Return what `arguments` say."""
        order, where, nice, idle_s, folder, preload = arguments
        return cls(int(order), int(where), int(nice), float(idle_s), folder, preload)
