"""Whose keys are destroyed with a subject: those under which values of its rows are encrypted."""

from __future__ import annotations

from collections.abc import Iterator

from varv.data import Dataset
from varv.data.identity import keys_of
from varv.data.privacy import Encrypt
from varv.data.privacy.encrypting import Encryptor
from varv.home.erasure.rows import Store
from varv.home.erasure.subject import Subject
from varv.kernel.purpose_keys import normalised


def owners_of(store: Store, subject: Subject) -> tuple[str, ...]:
    """Return the digests, in hexadecimal, of those under whose keys values of the subject's rows are
    encrypted; not of whoever is named by another column, whose key others' rows need too.
    """
    dataset = store.datasets.registered(subject.dataset)
    encryptor = Encryptor(dataset.name, dataset.key, store.secret.purposes.subjects)
    columns = {how.whose for how in dataset.pii.values() if isinstance(how, Encrypt)}
    found = {encryptor.owner(whose, text) for whose in columns for text in _texts(whose, dataset, subject)}
    return tuple(sorted(owner.hex() for owner in found))


def _texts(whose: str, dataset: Dataset, subject: Subject) -> Iterator[str]:
    if whose == subject.column:
        yield from subject.texts
    elif not whose or dataset.key == (whose,):
        rows = subject.row_keys(dataset)
        if len(dataset.key) == 1:
            yield from map(normalised, rows[dataset.key[0]].to_list())
        else:
            yield from keys_of(dataset.key, rows).to_list()
