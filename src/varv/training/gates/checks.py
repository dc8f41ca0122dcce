"""The gate that is a function of the author's: any number of the held-out rows, held against a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.kernel.codec import finite
from varv.kernel.errors import UserCodeFailed
from varv.kernel.user_code import UserCode
from varv.stats.intervals import Estimate, clustered_mean
from varv.tasks import Task
from varv.training.gates.bounds import Held, Limit, held_against, nothing_shown, said_with_interval
from varv.training.gates.judgement import Judgement
from varv.training.gates.measured import interval_of, too_few
from varv.training.gates.model import GateResult

CheckFunction = Callable[[pl.DataFrame], Any]


class Check(msgspec.Struct, frozen=True, tag="check"):
    """What a function says of the held-out rows does not lie beyond a bound.

    A number for each row is taken as a mean with its interval over days; one number is taken as it is.
    """

    function: CheckFunction
    name: str
    limit: Limit
    shown: bool = False

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return f"check {self.name}"

    def judge(self, judgement: Judgement) -> GateResult:
        """Ask the function."""
        frame = judgement.frame()
        with UserCode("gate", self.name):
            said = self.function(frame)
        values = self._values(said, frame.height)
        evidence: dict[str, float | None] = {"at_least": self.limit.low, "at_most": self.limit.high}
        evidence["n"] = float(frame.height)
        interval: tuple[float, float] | None = None
        if values.ndim == 0:
            value = float(values)
            evidence["value"] = finite(value)
            held = self._of_one(value)
        elif why := too_few(judgement):
            held = nothing_shown(why, shown=self.shown)
        else:
            found = clustered_mean(values, judgement.days)
            evidence |= {"value": found.value, "low": finite(found.low), "high": finite(found.high)}
            interval = interval_of(found)
            told = said_with_interval("mean over rows", found)
            held = held_against(found, self.limit, told, shown=self.shown)
        question = self.limit.question(self.name, shown=self.shown)
        return GateResult(
            self.named(judgement.task),
            held.passed,
            held.verdict,
            evidence,
            question,
            held.answer,
            frame.height,
            interval,
        )

    def _of_one(self, value: float) -> Held:
        if not np.isfinite(value):
            return nothing_shown("the function returned no finite number", shown=self.shown)
        exact = Estimate(value, value, value, 1)
        beyond = self.limit.misses(exact)
        told = f"it is {value:.4g}; one number has no interval"
        if beyond:
            return Held(False, "beyond bounds", f"Beyond the bound: {told}.")
        return Held(True, "within bounds", f"Within the bound: {told}.")

    def _values(self, said: object, n: int) -> np.ndarray:
        """Return what the function said as a number, or as one for each row.

        Raises
        ------
        UserCodeFailed
            If it is neither.
        """
        hint = f"return one number, or one for each of the {n} rows"
        try:
            values = np.asarray(said, dtype=np.float64)
        except (TypeError, ValueError):
            problem = f"returned a {type(said).__name__}"
            raise UserCodeFailed("gate", self.name, problem, hint=hint) from None
        if values.shape not in ((), (n,)):
            raise UserCodeFailed("gate", self.name, f"returned an array of shape {values.shape}", hint=hint)
        if values.ndim and not np.all(np.isfinite(values)):
            raise UserCodeFailed("gate", self.name, "returned rows that are not finite", hint=hint)
        return values
