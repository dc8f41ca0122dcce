"""Everything that clients of a home's tracking may write to and ask: its runs, its logged models, its
traces, its registry and its webhooks, in one file with one writer.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from varv.home.tracking.hooks import Hooks
from varv.home.tracking.looking import RunDesk
from varv.home.tracking.scanning import Scans
from varv.kernel.errors import VarvError
from varv.kernel.recorder import Recorder
from varv.registry import Models
from varv.registry.imports import RegistryImports
from varv.registry.webhooks import Webhooks
from varv.runs import RunSearch, Tracking
from varv.runs.imports import Imports
from varv.runs.left_behind import end_left_behind
from varv.runs.logged import LoggedModels
from varv.runs.traces import Traces
from varv.runs.uploads import Uploads


@dataclass(frozen=True, slots=True)
class TrackingDesk:
    """The parts of a home's tracking."""

    recorder: Recorder
    runs: Tracking
    logged: LoggedModels
    traces: Traces
    models: Models
    webhooks: Webhooks
    hooks: Hooks
    scans: Scans
    imports: Imports
    registry_imports: RegistryImports
    search: RunSearch
    uploads: Uploads

    def runs_read(self) -> RunDesk:
        """Return the runs, as one looks at them."""
        return RunDesk(self.search, self.runs.blobs)

    def tend(self) -> None:
        """Do what time asks for: seal metrics that have waited, end runs that were left behind, and delete
        uploads that were never completed.
        """
        self.runs.seal_due()
        end_left_behind(self.runs)
        self.uploads.sweep()

    def close(self) -> None:
        """Tell and write what is under way, and close the file; closing twice is harmless."""
        self.hooks.close()
        self.scans.close()
        # Who reads the file beside no server compares metrics as they are folded.
        with suppress(VarvError):
            self.recorder.do(self.runs.series.folding())
        self.recorder.close()
