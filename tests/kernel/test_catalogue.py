"""A catalogue says the same of what is stored, however much of it was compacted."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.catalogue import Catalogue, Compacted, Extent, writer_of
from varv.kernel.clock import Instant
from varv.kernel.codec import digest
from varv.kernel.segment_files import Listed, listing_digest


def segment(number, writer="w", n_rows=2):
    first = Instant(10 * number)
    name = f"{writer}-{number:06d}"
    last = Instant(first + 9)
    return Extent(
        name=name, digest=digest(name.encode()), n_rows=n_rows, first=first, last=last, number=number
    )


def filled(n, writers=("w",)):
    made = Catalogue()
    for number in range(1, n + 1):
        made.add(segment(number, writers[number % len(writers)]))
    return made


def compacted(catalogue, numbers, file):
    names = {one.number: one.name for one in catalogue.alone.values()}
    catalogue.compacted(Compacted(file=file, segments=tuple(names[number] for number in numbers)))


def test_a_file_takes_the_place_of_its_segments_and_is_vouched_for_by_what_it_lists():
    held = filled(5)
    listed = [Listed(one.name, one.n_rows, one.digest) for one in held.extents() if one.number in (1, 2, 4)]
    compacted(held, (1, 2, 4), "~000000001")
    file, third, fifth = held.extents()
    assert (file.name, file.digest, file.n_rows) == ("~000000001", listing_digest(listed), 6)
    assert (file.first, file.last, file.n_segments) == (10, 49, 3)
    assert (file.numbers(), file.last_number) == ([1, 2, 4], 4)
    assert [third.number, fifth.number] == [3, 5]
    assert (held.n, held.n_rows, held.span()) == (5, 10, (10, 59))


def test_what_is_stored_with_others_may_have_come_and_what_is_new_has_not():
    held = filled(6, ("one", "two"))
    compacted(held, (1, 2, 3), "~000000001")
    assert held.may_lie_in_files("two-000001")
    assert held.may_lie_in_files("one-000002")
    # Its writer has come further, though nobody knows of it any more by its name.
    assert held.may_lie_in_files("two-000002")
    assert not held.may_lie_in_files("one-000004")  # lies alone
    assert not held.may_lie_in_files("two-000007")
    assert not held.may_lie_in_files("three-000001")


def test_times_that_no_entry_says_are_taken_from_the_file():
    held = Catalogue()
    for number in (1, 2):
        held.add(msgspec.structs.replace(segment(number), first=None, last=None))
    assert all(one.reaches(Instant(0), Instant(1)) for one in held.extents())
    held.compacted(Compacted(file="~1", segments=tuple(held.alone)), Instant(20), Instant(30))
    [file] = held.extents()
    assert not file.reaches(Instant(0), Instant(20))
    assert file.reaches(Instant(30), None)
    assert not file.reaches(Instant(31), None)


def test_a_writer_is_what_the_names_of_its_segments_begin_with():
    assert writer_of("a") == ""
    assert writer_of("a-b-7") == "a-b"


@given(st.integers(1, 12), st.data())
def test_it_says_the_same_of_what_is_stored_however_it_was_compacted(n, data):
    plain, held = filled(n), filled(n)
    for file in range(data.draw(st.integers(0, 3))):
        alone = sorted(one.number for one in held.alone.values())
        if alone:
            chosen = data.draw(st.lists(st.sampled_from(alone), min_size=1, unique=True).map(sorted))
            compacted(held, chosen, f"~{file:09d}")
    held = msgspec.msgpack.decode(msgspec.msgpack.encode(held), type=Catalogue)
    assert (held.n, held.n_rows, held.span()) == (plain.n, plain.n_rows, plain.span())
    assert sorted(number for one in held.extents() for number in one.numbers()) == list(range(1, n + 1))
    for upto in range(n + 2):
        assert sum(one.n_upto(upto) for one in held.extents()) == min(upto, n)
    since, until = sorted(data.draw(st.tuples(st.integers(0, 130), st.integers(0, 130))))
    reached = {number for one in held.extents() if one.reaches(since, until) for number in one.numbers()}
    assert reached >= {one.number for one in plain.extents() if one.reaches(since, until)}


def test_what_was_replaced_counts_as_of_the_numbers_before():
    held = filled(5)
    compacted(held, (1, 2, 3), "~000000001")
    held.replace(["~000000001", "w-000005"], [segment(6, "new"), segment(6, "other")], 6, Instant(99))
    held.add(segment(7))
    assert [one.name for one in held.extents()] == ["w-000004", "new-000006", "other-000006", "w-000007"]
    assert [one.name for one in held.extents(5)] == ["~000000001", "w-000004", "w-000005"]
    assert [one.name for one in held.extents(2)] == ["~000000001"]
    alone, files = held.compactable()
    assert (set(alone), files) == ({"w-000004", "new-000006", "other-000006", "w-000007"}, {"~000000001"})
    compacted(held, (4, 7), "~000000002")
    assert [one.name for one in held.extents(5)] == ["~000000001", "~000000002", "w-000005"]
    assert [one.gone for one in held.ever()] == [6, 0, 6, 0, 0]


def test_removed_files_are_remembered_and_their_names_not_given_again():
    held = filled(3)
    compacted(held, (1, 2), "~000000001")
    held.replace(["~000000001"], [], 4, Instant(99))
    held.note_removed(["~000000001"], by=17)
    assert [one.removed_by for one in held.extents(3)] == [17, 0]
    assert held.compactable()[1] == set()
    assert held.removed_files() == {"~000000001"}
