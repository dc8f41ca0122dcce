from __future__ import annotations

import pytest

from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import DAY, SECOND, Instant, VirtualClock
from varv.kernel.codec import digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, RateLimited, Unauthenticated
from varv.runs import uploads
from varv.runs.uploads import REMEMBERED_FOR, Uploads

OWNER, PATH = "runs/r", "model/w.bin"
PARTS = (b"a" * 70_000, b"b" * 5, b"")


class Store:
    def __init__(self, folder):
        self.folder, self.clock = folder / "uploads", VirtualClock(Instant(1000 * DAY))
        self.blobs = FolderBlobs(folder / "blobs")
        self.open()

    def open(self):
        self.uploads = Uploads(self.folder, self.blobs, self.clock)

    def send(self, begun, number, data, token=None):
        draft = self.uploads.part(begun.id, number, token or begun.token)
        try:
            draft.write(data)
            return draft.keep()[0]
        finally:
            draft.drop()

    def files(self):
        return [place for place in self.folder.rglob("*") if place.is_file()]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_parts_in_any_order_become_one_blob(store):
    begun = store.uploads.begin(OWNER, PATH, len(PARTS))
    tags = {number: store.send(begun, number, PARTS[number - 1]) for number in (3, 1, 2)}
    whole = store.uploads.complete(begun.id, OWNER, PATH, tags)
    assert (whole.size, whole.is_settled) == (70_005, False)
    assert store.blobs.get(whole.digest) == b"".join(PARTS)


def test_an_upload_goes_on_after_a_restart_where_it_was(store):
    begun = store.uploads.begin(OWNER, PATH, 2)
    tags = {1: store.send(begun, 1, b"one")}
    store.open()
    tags[2] = store.send(begun, 2, b"two")
    assert store.blobs.get(store.uploads.complete(begun.id, OWNER, PATH, tags).digest) == b"onetwo"


def test_completing_again_says_what_it_did_and_its_parts_are_gone(store):
    begun = store.uploads.begin(OWNER, PATH, 1)
    whole = store.uploads.complete(begun.id, OWNER, PATH, {1: store.send(begun, 1, b"one")})
    store.uploads.settle(begun.id, whole.digest, whole.size)
    again = store.uploads.complete(begun.id, OWNER, PATH, {})
    assert again == (whole.digest, 3, True)
    assert [place.name for place in store.files()] == ["upload.json"]
    with pytest.raises(FailedPrecondition, match="is complete"):
        store.send(begun, 1, b"two")
    store.clock.move_to(Instant(store.clock.now() + REMEMBERED_FOR))
    assert store.uploads.sweep() == 1


def test_a_part_that_is_sent_again_takes_the_place_of_the_first(store):
    begun = store.uploads.begin(OWNER, PATH, 1)
    first, second = store.send(begun, 1, b"first"), store.send(begun, 1, b"second")
    with pytest.raises(InvalidInput, match="is not what was sent"):
        store.uploads.complete(begun.id, OWNER, PATH, {1: first})
    assert store.uploads.complete(begun.id, OWNER, PATH, {1: second}).digest == digest(b"second")
    assert len(store.files()) == 2


@pytest.mark.parametrize("tags", [{}, {1: "a"}, {1: "a", 2: "b", 3: "c"}, {0: "a", 1: "b"}])
def test_it_completes_only_with_each_part_named_once(store, tags):
    begun = store.uploads.begin(OWNER, PATH, 2)
    with pytest.raises(InvalidInput, match="all parts once"):
        store.uploads.complete(begun.id, OWNER, PATH, tags)


def test_a_part_that_never_came_is_named(store):
    begun = store.uploads.begin(OWNER, PATH, 2)
    tags = {1: store.send(begun, 1, b"one"), 2: digest(b"two")}
    with pytest.raises(InvalidInput, match="part '2'"):
        store.uploads.complete(begun.id, OWNER, PATH, tags)
    assert store.blobs.digests() == []


def test_a_part_needs_the_token_of_its_upload_and_no_other(store):
    begun, other = store.uploads.begin(OWNER, PATH, 1), store.uploads.begin(OWNER, "b", 1)
    for id, token in ((begun.id, other.token), (begun.id, "x"), ("0" * 32, begun.token), ("../x", "x")):
        with pytest.raises(Unauthenticated, match="needs the token"):
            store.uploads.part(id, 1, token)


@pytest.mark.parametrize("number", [0, -1, 3])
def test_an_upload_has_the_parts_that_it_began_with(store, number):
    begun = store.uploads.begin(OWNER, PATH, 2)
    with pytest.raises(InvalidInput, match="is not one of this upload"):
        store.send(begun, number, b"x")


def test_size_and_number_of_parts_and_uploads_are_bounded(store, monkeypatch):
    for n_parts in (0, 10_001):
        with pytest.raises(InvalidInput, match="num_parts"):
            store.uploads.begin(OWNER, PATH, n_parts)
    monkeypatch.setattr(uploads, "MOST_PART_BYTES", 4)
    begun = store.uploads.begin(OWNER, PATH, 1)
    with pytest.raises(InvalidInput, match="too large"):
        store.send(begun, 1, b"12345")
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 1)
    with pytest.raises(RateLimited):
        store.uploads.begin(OWNER, PATH, 1)


def test_what_was_completed_counts_no_more(store, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 1)
    for _ in range(2):
        begun = store.uploads.begin(OWNER, PATH, 1)
        whole = store.uploads.complete(begun.id, OWNER, PATH, {1: store.send(begun, 1, b"one")})
        store.uploads.settle(begun.id, whole.digest, whole.size)


def test_aborting_leaves_nothing_and_may_be_done_again(store):
    begun = store.uploads.begin(OWNER, PATH, 1)
    tag = store.send(begun, 1, b"one")
    with pytest.raises(InvalidInput, match="is of another file"):
        store.uploads.abort(begun.id, OWNER, "other")
    store.uploads.abort(begun.id, OWNER, PATH)
    store.uploads.abort(begun.id, OWNER, PATH)
    assert list(store.folder.iterdir()) == []
    with pytest.raises(NotFound):
        store.uploads.complete(begun.id, OWNER, PATH, {1: tag})


def test_what_is_never_completed_is_swept_after_a_day(store):
    begun = store.uploads.begin(OWNER, PATH, 1)
    store.send(begun, 1, b"one")
    store.clock.move_to(Instant(store.clock.now() + DAY - SECOND))
    assert store.uploads.sweep() == 0
    store.clock.move_to(Instant(store.clock.now() + SECOND))
    with pytest.raises(Unauthenticated):
        store.send(begun, 1, b"one")
    assert store.uploads.sweep() == 1
    assert list(store.folder.iterdir()) == []
