"""Questions about versions: what one of them says, and why. They are no requests of the model's: nothing is
captured, and no statistic knows of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from varv.kernel.clock import Clock
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from varv.kernel.ids import Version
from varv.registry import n_rows
from varv.serving.answers import NAMED, UNTRANSFORMED, Answers
from varv.serving.dataplane import DataPlane
from varv.serving.explaining import MOST_ROWS, Explanation, explained
from varv.serving.incoming import Incoming
from varv.serving.request_frames import RequestFrames
from varv.serving.schema import RequestSchema
from varv.serving.transforming import Transformer


class Questions:
    """Answers questions about the versions of one model.

    Parameters
    ----------
    schema, frames
        What a request is, and as a frame.
    dataplane
        Holds the versions.
    incoming
        Understands the columns of requests.
    transformer
        Says what answers show; None where that is what versions say.
    """

    def __init__(
        self,
        schema: RequestSchema,
        frames: RequestFrames,
        dataplane: DataPlane,
        clock: Clock,
        incoming: Incoming,
        transformer: Transformer | None,
    ) -> None:
        self._schema = schema
        self._frames = frames
        self._dataplane = dataplane
        self._clock = clock
        self._incoming = incoming
        self._transformer = transformer

    def answer(self, version: int, columns: Mapping[str, Sequence[Any]], request_id: str) -> Answers:
        """Return what a version in memory says, whatever the routing table has it do. It is a question about
        the version and no request of the model's: it is not captured, and no statistic knows of it.

        Raises
        ------
        NotFound
            If the version is not in memory.
        InvalidInput
            As `Answering.answer` does.
        UserCodeFailed
            If it cannot score.
        """
        in_force = self._dataplane.in_force
        if in_force.table is None or version not in in_force.versions:
            raise NotFound("version", version, "is not in memory", hint="ask for one that is in force")
        columns, flagged = self._incoming.understood(columns)
        requests = self._frames.frame(columns, request_id, self._clock.now())
        features = self._frames.looked_up(requests)
        scores = in_force.versions[version].scores(lambda signature: signature.feed(features))
        keys, n = self._schema.keys(requests).to_list(), requests.height
        versions, arms, shown = [version] * n, [NAMED] * n, UNTRANSFORMED
        if self._transformer is not None and self._transformer.shows:
            shown, more = self._transformer.told(scores, versions, arms)
            flagged = {**flagged, **more}
        return Answers(keys, versions, arms, scores, in_force.table.epoch, 0.0, False, flagged, shown)

    def explain(
        self, columns: Mapping[str, Sequence[Any]], request_id: str, version: int | None = None
    ) -> Explanation:
        """Return what a version says of rows, and what each of its features contributed. Nothing is
        captured or counted.

        Parameters
        ----------
        version
            One in memory; the champion by default.

        Raises
        ------
        InvalidInput
            If there are too many rows, or one does not fit.
        FailedPrecondition
            If the version has no probe rows to compare with.
        Unavailable, NotFound, UserCodeFailed
            As `answer` does.
        """
        in_force = self._dataplane.in_force
        table = in_force.table
        if table is None:
            raise Unavailable(
                "model", self._schema.model, "has no champion yet", hint="wait for the first training"
            )
        number = table.champion if version is None else version
        warm = in_force.versions.get(number)
        if warm is None:
            raise NotFound("version", number, "is not in memory", hint="ask for one that is in force")
        if not n_rows(warm.background):
            hint = "register it again with rows to compare it on"
            raise FailedPrecondition("version", number, "has no probe rows to compare with", hint=hint)
        columns, _ = self._incoming.understood(columns)
        requests = self._frames.frame(columns, request_id, self._clock.now())
        if requests.height > MOST_ROWS:
            hint = f"send {MOST_ROWS} at most: each is asked of the model a thousand times and more"
            raise InvalidInput("request", "", f"has {requests.height} rows", hint=hint, reason="rows")
        rows = warm.signature.feed(self._frames.looked_up(requests))
        names = tuple(column.name for column in warm.signature.columns)
        keys = self._schema.keys(requests).to_list()
        return Explanation(keys, Version(number), warm.asked(rows), names, explained(warm, rows))
