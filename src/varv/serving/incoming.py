"""What is done to the columns of a request before anything is computed from it: personal columns are treated,
then comes a declared transformation, then the checks. Every way to an answer and every question about a
version goes through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from varv.data.privacy.minimising import Minimiser
from varv.serving.checks import Checked, checked
from varv.serving.policy import Check
from varv.serving.transforming import Transformer


class Incoming:
    """Understands the columns of requests of one model.

    Parameters
    ----------
    checks
        What is demanded of them.
    transformer
        What is done to them before; None for nothing.
    minimiser
        Treats personal columns, before anybody else sees them; None if there are none.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        transformer: Transformer | None,
        minimiser: Minimiser | None = None,
    ) -> None:
        self._checks = checks
        self._minimiser = minimiser
        transforms = transformer is not None and transformer.reads_requests
        self._transformer = transformer if transforms else None
        self.acts = bool(checks) or transforms or minimiser is not None
        """Whether columns may be others afterwards, or be flagged."""
        self.waits = transforms and transformer is not None and transformer.waits_before
        """Whether that may take long."""

    def understood(self, columns: Mapping[str, Sequence[Any]]) -> Checked:
        """Return the columns of a request as it is to be answered, and what of it is flagged.

        Raises
        ------
        InvalidInput
            If a column is missing, or a value breaks a check that refuses the request.
        VarvError
            If the transformation fails, and its request is refused then.
        """
        if self._minimiser is not None:
            columns = self._minimiser.columns(columns)
        if self._transformer is None:
            return checked(self._checks, columns)
        columns, flagged = self._transformer.asked(columns)
        found = checked(self._checks, columns)
        return found if not flagged else Checked(found.columns, {**flagged, **found.flagged})
