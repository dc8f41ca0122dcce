"""What can be done to logged models. Each function returns a piece of work for the recorder's thread, as in
`runs.service`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

from varv.kernel.blobs import Blobs
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.ids import new_secret
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.stated_tags import require_free
from varv.kernel.texts import all_kept
from varv.runs import artifacts
from varv.runs.logged.model import (
    MODELS_FOLDER,
    LoggedModelId,
    LoggedStatus,
    ModelDescribed,
    ModelFinalized,
    ModelLogged,
    ModelMoved,
    logged_stream,
)
from varv.runs.logged.tables import LoggedRow, logged_row
from varv.runs.model import ExperimentId
from varv.runs.rules import (
    LONGEST_EXPERIMENT,
    LONGEST_PARAM,
    LONGEST_TAG,
    made_name,
    require_key,
    require_run_id,
    require_short,
    require_text,
    require_unchanged,
)
from varv.runs.tables import PARAM

_ID = re.compile(r"m-[0-9a-f]{32}")
_NOT_IN_NAMES = "/:.%\"'"


class LoggedModels:
    """The logged models of a home, as one writes to them.

    Parameters
    ----------
    recorder
        Writes the file that holds their tables.
    blobs
        Hold texts that are too long for entries of the ledger.
    """

    def __init__(self, recorder: Recorder, blobs: Blobs) -> None:
        self.recorder = recorder
        self._blobs = blobs

    def create(
        self,
        experiment: str,
        *,
        name: str | None = None,
        type: str = "",
        run: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Write[LoggedModelId]:
        """Make a logged model and return its id; a name is made where none is given.

        Raises
        ------
        NotFound
            If there is no such experiment.
        FailedPrecondition
            If the experiment is deleted.
        InvalidInput
            If a name, a parameter or a tag is not valid.
        """

        def work(writing: Writing) -> LoggedModelId:
            _require_experiment(writing.db, experiment)
            if run:
                require_run_id(run)
            named = made_name() if name is None else name
            _require_name(named)
            require_short("model type", type, type, LONGEST_EXPERIMENT)
            _require_words("param", params or {}, LONGEST_PARAM)
            _require_words("tag", tags or {}, LONGEST_TAG)
            require_free(tags or {})
            made = LoggedModelId(f"m-{new_secret(16).hex()}")
            event = ModelLogged(
                logged_model=made,
                experiment=ExperimentId(experiment),
                name=named,
                type=type,
                run=run,
                params=all_kept(self._blobs, params or {}),
                tags=all_kept(self._blobs, tags or {}),
            )
            writing.record(logged_stream(made), event)
            return made

        return Write(work)

    def log_params(self, id: str, params: Mapping[str, str]) -> Write[None]:
        """Give a logged model parameters; one that it has keeps its value."""

        def work(writing: Writing) -> None:
            row = active(writing.db, id)
            _require_words("param", params, LONGEST_PARAM)
            query = "SELECT name, value FROM logged_word WHERE logged = ? AND kind = ?"
            before = dict(writing.db.execute(query, (row.no, PARAM)).fetchall())
            require_unchanged(before, params, id)
            added = {name: value for name, value in params.items() if name not in before}
            if added:
                event = ModelDescribed(logged_model=LoggedModelId(id), params=all_kept(self._blobs, added))
                writing.record(logged_stream(id), event)

        return Write(work)

    def tag(self, id: str, tags: Mapping[str, str]) -> Write[None]:
        """Set tags of a logged model."""

        def work(writing: Writing) -> None:
            require_free(tags)
            self.set_tags(writing, id, tags)

        return Write(work)

    def set_tags(self, writing: Writing, id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a logged model as a part of a piece of work."""
        active(writing.db, id)
        _require_words("tag", tags, LONGEST_TAG)
        event = ModelDescribed(logged_model=LoggedModelId(id), tags=all_kept(self._blobs, tags))
        writing.record(logged_stream(id), event)

    def untag(self, id: str, tag: str) -> Write[None]:
        """Take a tag from a logged model.

        Raises
        ------
        NotFound
            If it has no such tag.
        """

        def work(writing: Writing) -> None:
            row = active(writing.db, id)
            require_free([tag])
            if tag not in tags_of(writing.db, row.no):
                raise NotFound("logged model tag", tag[:80], "is not set", logged_model=id)
            event = ModelDescribed(logged_model=LoggedModelId(id), without=tag)
            writing.record(logged_stream(id), event)

        return Write(work)

    def finalize(self, id: str, status: LoggedStatus) -> Write[None]:
        """State that the files of a logged model are there, or will not come."""

        def work(writing: Writing) -> None:
            active(writing.db, id)
            event = ModelFinalized(logged_model=LoggedModelId(id), status=status)
            writing.record(logged_stream(id), event)
            artifacts.seal(writing, f"{MODELS_FOLDER}/{id}")

        return Write(work)

    def delete(self, id: str) -> Write[None]:
        """Delete a logged model, which is only shown to who asks for deleted ones; again changes nothing."""

        def work(writing: Writing) -> None:
            row = logged_row(writing.db, id)
            if row is None:
                raise NotFound("logged model", id[:80])
            if not row.deleted:
                moved = ModelMoved(logged_model=LoggedModelId(id), deleted=True)
                writing.record(logged_stream(id), moved)

        return Write(work)


def require_logged_id(id: str) -> None:
    """Raise `InvalidInput` unless `id` may be the id of a logged model: what else it is never looked up."""
    if not _ID.fullmatch(id):
        raise InvalidInput(
            "logged model id", id[:80], "is not valid", hint="use m- and 32 hexadecimal digits"
        )


def active(db: sqlite3.Connection, id: str) -> LoggedRow:
    """Return what is known of a logged model that is not deleted.

    Raises
    ------
    NotFound
        If there is none.
    """
    row = logged_row(db, id)
    if row is None or row.deleted:
        raise NotFound("logged model", id[:80])
    return row


def tags_of(db: sqlite3.Connection, no: int) -> dict[str, str]:
    """Return the tags of a logged model by its number."""
    query = "SELECT name, value FROM logged_word WHERE logged = ? AND kind != ?"
    return dict(db.execute(query, (no, PARAM)).fetchall())


def _require_name(name: str) -> None:
    require_text("model", name)
    require_short("model name", name, name, LONGEST_EXPERIMENT)
    if any(mark in name for mark in _NOT_IN_NAMES):
        hint = f"leave out {' '.join(_NOT_IN_NAMES)}"
        raise InvalidInput("model name", name[:80], "is not valid", hint=hint)


def _require_words(kind: str, values: Mapping[str, str], longest: int) -> None:
    for name, value in values.items():
        require_key(kind, name)
        require_short(kind, name, value, longest)


def _require_experiment(db: sqlite3.Connection, experiment: str) -> None:
    row = db.execute("SELECT deleted FROM experiment WHERE id = ?", (experiment,)).fetchone()
    if row is None:
        raise NotFound("experiment", experiment[:80])
    if row[0]:
        problem = "must be in the 'active' state and is deleted"
        raise FailedPrecondition("experiment", experiment, problem, hint="restore it first")
