"""What of answered requests is kept in the log, and in which form: a share of them, without some columns,
with digests in the place of others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName, coin
from varv.kernel.secret import Secret
from varv.serving.blocks import Layout, RequestRows
from varv.serving.policy import LogPolicy
from varv.serving.scored import Mask

_DIGITS = 24
"""Of a digest: enough that two texts of a home hardly ever share one."""


class Keeping:
    """Chooses and prepares what is kept of one model's requests.

    Parameters
    ----------
    policy
        What is declared.
    layout
        How requests lie in arrays.
    model
        Whose requests they are.
    secret
        The key of digests.

    Raises
    ------
    FailedPrecondition
        If digests are declared, and there is no key.
    """

    def __init__(self, policy: LogPolicy, layout: Layout, model: ModelName, secret: Secret | None) -> None:
        if policy.pseudonymise and secret is None:
            hint = "open the home with its secret"
            raise FailedPrecondition("model", model, "keeps digests, for which there is no key", hint=hint)
        self.share = policy.share
        self._salt = f"log/{model}"
        redacted, digested = frozenset(policy.redact), frozenset(policy.pseudonymise)
        self._changes = bool(redacted or digested)
        self._redacted = frozenset(redacted)
        self._numbers = [place for place, name in enumerate(layout.numbers) if name in redacted]
        self._texts: list[Callable[[Sequence[str | None]], Sequence[str | None]] | None] = []
        for name in layout.texts:
            if name in redacted:
                self._texts.append(_nothing)
            elif name in digested and secret is not None:
                self._texts.append(partial(_digests, secret, f"{self._salt}/{name}"))
            else:
                self._texts.append(None)

    def chosen(self, units: Sequence[str]) -> Mask:
        """Return which requests are kept, shape (n,), by their units of randomisation."""
        return np.fromiter((coin(self._salt, unit) < self.share for unit in units), np.bool_, len(units))

    def prepared(self, rows: RequestRows) -> RequestRows:
        """Return requests as they are kept."""
        if not self._changes:
            return rows
        numbers = rows.numbers
        if self._numbers:
            numbers = numbers.copy()
            numbers[:, self._numbers] = math.nan
        texts = [
            values if change is None else change(values)
            for change, values in zip(self._texts, rows.texts, strict=True)
        ]
        wide = {name: values for name, values in rows.wide.items() if name not in self._redacted}
        return RequestRows(rows.keys, numbers, texts, wide)


def _nothing(values: Sequence[str | None]) -> Sequence[str | None]:
    return [None] * len(values)


def _digests(secret: Secret, salt: str, values: Sequence[str | None]) -> Sequence[str | None]:
    return [
        None if value is None else secret.digest(f"{salt}/{value}".encode())[:_DIGITS] for value in values
    ]
