"""Whether a home still is what its erasures have proven: what was removed has not come back, and nobody can
tell any more whose rows they were. A backup that was copied over a home brings both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from varv.data.privacy.model import QuarantineErased
from varv.data.versions import table_of
from varv.data.versions.model import DatasetVacuumed
from varv.home.erasure.model import ErasureProven
from varv.home.erasure.subject import Subjects
from varv.kernel.codec import Event
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.segment_files import STREAM, SUFFIX

ENTRIES = (DatasetVacuumed, QuarantineErased, ErasureProven)
"""The events that it goes by."""


class ErasureCheck:
    """What erasures have removed, as a ledger says it."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        """By file, without its kind, the erasure."""
        self._proven: set[str] = set()

    def take(self, event: Event) -> None:
        """Take the next entry in."""
        match event:
            case DatasetVacuumed() if event.erasure:
                for part, names in event.files.items():
                    table = table_of(event.dataset, part)
                    self._files |= {f"columns/{table}/{name}": event.erasure for name in names}
            case QuarantineErased() if event.before:
                place = f"columns/quarantine/{event.dataset}/{event.part}/{event.before}"
                self._files[place] = event.erasure
            case ErasureProven():
                self._proven.add(event.erasure)
            case _:
                pass

    def flaws(self, home: Path) -> Iterator[tuple[str, str, str, str]]:
        """Yield what is there that was proven to be gone: place, problem, what was expected and found."""
        for name, erasure in self._files.items():
            for kind in (STREAM, SUFFIX) if erasure in self._proven else ():
                if (home / f"{name}{kind}").exists():
                    problem = f"is there again, with rows that {erasure} has erased"
                    yield f"{name}{kind}", problem, "no file", "a file"
        for subject in Subjects(Secret(home / SECRET_FILE).purposes).all():
            if subject.erasure in self._proven:
                problem = "still says whose rows were erased"
                yield f"the keys of the home, {subject.erasure}.json", problem, "no file", "a file"
