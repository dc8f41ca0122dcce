"""`varv init`: a small project that works at once. What is there already is never overwritten.

The data is made here, from a seed: parcels of a city, 150 a day over the last four months, that arrive late
more often in the evening, over long ways, and with two of the couriers. After ten weeks a bridge is closed,
and two districts become slow: the model that was trained before does not know that.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np

from varv.kernel.clock import DAY, HOUR, MINUTE, Instant, instant, iso
from varv.kernel.errors import FailedPrecondition

DECLARATION, DATA = "deliveries.py", "deliveries.csv"
TEMPLATE = "deliveries.txt"
"""The declaration as it is kept here; not a module, since it reads data that is not beside it."""
N_DAYS, PER_DAY = 120, 150
TRAIN_DAY = 31
"""Day at which the first model of the replay is trained."""
BRIDGE_CLOSES = 73
"""Day from which harbour and riverside are slow."""
SEED = 7
_DATES = {"2025-01-01": 0, "2025-02-01": TRAIN_DAY, "2025-05-01": N_DAYS}
"""Dates in the declaration as it is kept here, and the days of the data that they stand for."""
_SINCE = re.compile(r'since="(\d{4}-\d\d-\d\d)')
_COLUMNS = "delivery_id,ordered_at,district,courier,distance_km,weight_kg,hour,delivered_at,late"
_DISTRICTS = ("centre", "harbour", "heights", "old-town", "riverside")
_COURIERS = ("ada", "bo", "cleo", "dag", "eli", "fay")
_SLOW_COURIERS = np.array([0.0, 0.8, -0.4, 0.0, 1.2, -0.4])


def write_project(folder: Path, now: Instant) -> list[str]:
    """Write what is missing of the project, and return the names of what was written.

    Parameters
    ----------
    now
        The data ends with the day before.

    Raises
    ------
    FailedPrecondition
        If the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        first = _first_day(folder / DECLARATION, now)
        for name, content in ((DECLARATION, declaration_text), (DATA, data_text)):
            if not (folder / name).exists():
                (folder / name).write_text(content(first))
                written.append(name)
    except OSError as error:
        hint = "choose another folder"
        raise FailedPrecondition(
            "folder", folder.name, "cannot be written", why=error.strerror, hint=hint
        ) from None
    return written


def declaration_text(first: Instant) -> str:
    """Return the declaration of the project, with a replay of the days from `first` on."""
    text = (resources.files("varv.app") / "project" / TEMPLATE).read_text()
    for written, day in _DATES.items():
        text = text.replace(written, iso(first + day * DAY)[:10])
    return text


def _first_day(declaration: Path, now: Instant) -> Instant:
    """Return the first day of the data: that of a declaration that is there already, if it says one."""
    said = _SINCE.search(declaration.read_text()) if declaration.exists() else None
    return Instant(now // DAY * DAY - N_DAYS * DAY) if said is None else instant(said[1])


def data_text(first: Instant) -> str:
    """Return the project's data as CSV, from the day `first` on; the last parcels are still on their way."""
    rng = np.random.default_rng(SEED)
    n = N_DAYS * PER_DAY
    day = np.repeat(np.arange(N_DAYS), PER_DAY)
    hour = np.clip(rng.normal(14, 4, n), 6, 22)
    order = np.lexsort((hour, day))
    day, hour = day[order], hour[order]
    district, courier = rng.integers(len(_DISTRICTS), size=n), rng.integers(len(_COURIERS), size=n)
    distance, weight = rng.gamma(2.0, 2.5, n).round(1), rng.lognormal(0.8, 0.7, n).round(1)
    closed = (day >= BRIDGE_CLOSES) & ((district == 1) | (district == 4))
    logit = (
        -3.2 + 0.25 * distance + 0.9 * (hour > 17) + _SLOW_COURIERS[courier] + 0.05 * weight + 2.4 * closed
    )
    late = rng.random(n) < 1 / (1 + np.exp(-logit))
    minutes = (45 + 6 * distance + 90 * late * rng.gamma(2.0, 1.0, n)).round()
    end = first + N_DAYS * DAY
    lines = [_COLUMNS]
    for i in range(n):
        ordered = first + int(day[i]) * DAY + int(hour[i] * HOUR) // MINUTE * MINUTE
        delivered = ordered + int(minutes[i]) * MINUTE
        known = f"{_text(delivered)},{int(late[i])}" if delivered < end else ","
        what = f"{_DISTRICTS[district[i]]},{_COURIERS[courier[i]]},{distance[i]},{weight[i]},{int(hour[i])}"
        lines.append(f"d{i:06d},{_text(ordered)},{what},{known}")
    return "\n".join(lines) + "\n"


def _text(when: int) -> str:
    return iso(when)
