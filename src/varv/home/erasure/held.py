"""All that a home holds of one subject, place by place: how much there is, and how it goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from varv.home.erasure.labels import SubjectLabels
from varv.home.erasure.marks import MadeFrom, made_from
from varv.home.erasure.online import OnlineStore, SubjectOnline
from varv.home.erasure.owners import owners_of
from varv.home.erasure.requests import SubjectRequests, models_asked_by
from varv.home.erasure.rows import Store, SubjectRows
from varv.home.erasure.subject import Subject
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.registry import RegistryView
from varv.registry.model import DatasetUse


class Held:
    """What a home holds of a subject: rows of the dataset that it is named in and of those that were made
    from it, predictions, labels, and features online.

    Parameters
    ----------
    store, ledger
        Of a home that nobody else writes to.
    subject
        Whose rows.
    online
        The online store, None where nobody has opened it.
    suspects
        As of `rows.SubjectRows`.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        subject: Subject,
        online: OnlineStore | None,
        suspects: Collection[str] = (),
    ) -> None:
        self._store, self._ledger, self._subject = store, ledger, subject
        self._online, self._suspects = online, suspects
        self._made = made_from(store.views, subject.dataset)

    def with_keys(self) -> Subject:
        """Return the subject with the keys of all its rows, and of what was encrypted for it."""
        subject = self._subject
        for made in (None, *self._made):
            rows = SubjectRows(self._store, subject, made=made)
            subject = subject.with_keys(rows.dataset, rows.find_keys())
        return subject.with_owners(owners_of(self._store, subject))

    def n_rows(self) -> dict[str, int]:
        """Return by table how many rows there are, requests and labels among them."""
        found: dict[str, int] = {}
        for rows in self._rows():
            found |= rows.n_rows()
            for requests, labels in self._asked(rows):
                found |= {requests.table: n} if (n := requests.n_rows()) else {}
                found |= {labels.place: n} if (n := labels.n_items()) else {}
        if n := self._store.secret.purposes.subjects.count(self._subject.owners):
            found["keys/subjects.db"] = n
        return found

    def n_online(self) -> dict[str, int]:
        """Return by view how much the online store may hold."""
        return self._of_online().left()

    def online(self) -> dict[str, int]:
        """Return by view that is online how many entities are of the subject, before it is erased."""
        return self._of_online().holding()

    def digests(self) -> dict[str, Digest]:
        """Return what identifies the batches of each dataset that has rows of the subject, and of its own."""
        of_all = [
            rows for rows in self._rows() if rows.dataset.name == self._subject.dataset or rows.n_rows()
        ]
        return {rows.dataset.name: self._store.datasets.digest(rows.dataset) for rows in of_all}

    def trained_on(self) -> tuple[str, ...]:
        """Return the versions of models that were trained from a version with rows of the subject."""
        spans = {str(rows.dataset.name): rows.spans() for rows in self._rows()}

        def held(use: DatasetUse) -> bool:
            several = spans.get(use.dataset, [])
            return any(since <= use.version and (not gone or use.version < gone) for since, gone in several)

        with self._store.views.reading(RegistryView) as registry:
            return tuple(
                f"{model} v{number}"
                for model, record in sorted(registry.models.items())
                for number, version in sorted(record.versions.items())
                if any(map(held, version.registered.datasets))
            )

    def erase(self) -> None:
        """Let rows, predictions and labels go."""
        for rows in self._rows():
            rows.erase()
            for requests, labels in self._asked(rows):
                requests.erase(self._subject.erasure)
                labels.erase(self._subject.erasure)

    def refill(self) -> None:
        """Fill what the online store holds anew; after the rows have gone."""
        self._of_online().refill()

    def _rows(self) -> Iterator[SubjectRows]:
        several: tuple[MadeFrom | None, ...] = (None, *self._made)
        for made in several:
            yield SubjectRows(self._store, self._subject, self._suspects, made)

    def _asked(self, rows: SubjectRows) -> Iterator[tuple[SubjectRequests, SubjectLabels]]:
        keys = rows.keys_as_text
        for model in models_asked_by(self._store, rows.dataset.name):
            yield (
                SubjectRequests(self._store, model, keys),
                SubjectLabels(self._store, ModelName(model), keys),
            )

    def _of_online(self) -> SubjectOnline:
        rows = {str(one.dataset.name): (one.dataset, one.keys) for one in self._rows()}
        store = self._store
        return SubjectOnline(self._ledger, store.views, store.datasets, self._online, self._subject, rows)
