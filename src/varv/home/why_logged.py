"""Why a version that a client logged is as it is: where it came from, what was found in its files, and which
candidates came of it.

Read from the ledger's stream of its name; `home.why` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from varv.home.tracking.scanning import Report
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import NotFound
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.views import Views
from varv.registry import RegistryView
from varv.registry.model import VersionLogged, VersionScanned, model_stream

_SUBJECT = re.compile(r"(models:/)?(?P<model>[^/:]+?)(\s+v|[/:@]v?)(?P<version>\d{1,18})")


class OfLogged(NamedTuple):
    """The answer in sentences, all that was found in the files, and the entries that it rests on."""

    answer: str
    detail: str
    entries: Sequence[Entry]


def of_logged(home: Path, ledger: Ledger, views: Views, subject: str) -> OfLogged | None:
    """Return what there is to say of a logged version such as ``churn v3`` or ``models:/churn/3``; None if
    there is none of that name.
    """
    named = _SUBJECT.fullmatch(subject)
    if named is None:
        return None
    model, version = named["model"], int(named["version"])
    with views.reading(RegistryView) as registry:
        if version > registry.logged.get(model, 0):
            return None
        source = f"models:/{model}/{version}"
        became = [
            f"{name} v{number}"
            for name, record in registry.models.items()
            for number, one in record.versions.items()
            if one.registered.imported is not None and one.registered.imported.source == source
        ]
    entries = [
        entry
        for entry in ledger.read(stream=model_stream(model), limit=_MOST)
        if getattr(entry.event, "version", None) == version
    ]
    logged = next((entry.event for entry in entries if isinstance(entry.event, VersionLogged)), None)
    if logged is None:
        return None
    scanned = [entry.event for entry in entries if isinstance(entry.event, VersionScanned)]
    report = _report(home, scanned[-1]) if scanned else None
    told = [f"It was logged from {logged.source[:200]}.", _verdict(report)]
    told.append(f"{', '.join(became)} came of it." if became else "It serves nothing by itself.")
    return OfLogged(" ".join(told), _detail(report), entries)


_MOST = 100_000
_MOST_SHOWN = 50


def _report(home: Path, event: VersionScanned) -> Report | None:
    try:
        return msgspec.json.decode(FolderBlobs(home / "blobs").get(event.report), type=Report)
    except (NotFound, msgspec.MsgspecError):
        return None


def _verdict(report: Report | None) -> str:
    if report is None:
        return "Its files have not been looked at."
    if report.why:
        return "Nothing can answer for it without running code of whoever made it."
    return f"The runtime {report.runtime} can answer for it; its files: {report.scan}."


def _detail(report: Report | None) -> str:
    if report is None:
        return ""
    columns = () if report.signature is None else report.signature.columns
    told = {
        "reads": ", ".join(f"{column.name} ({column.kind})" for column in columns[:_MOST_SHOWN]),
        "made with": ", ".join(f"{name} {version}" for name, version in report.libraries.items()),
    }
    lines = [*([report.why] if report.why else []), *report.found]
    return "\n".join(lines + [f"{name}: {text}" for name, text in told.items() if text])
