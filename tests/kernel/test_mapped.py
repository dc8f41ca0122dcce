"""Arrays in a file without a name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from varv.kernel.mapped import MappedArrays

SHAPES = [(np.uint64, (5,)), (np.int32, (5, 2)), (np.float64, (0,)), (np.int64, (3,))]


def filled(made: MappedArrays) -> list[np.ndarray]:
    for number, array in enumerate(made.arrays):
        assert not array.any()
        array[...] = np.arange(array.size).reshape(array.shape) + number
    return [array.copy() for array in made.arrays]


def test_arrays_have_their_types_and_shapes_and_keep_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = MappedArrays(SHAPES)
    assert [(array.dtype, array.shape) for array in made.arrays] == [
        (np.dtype(kind), shape) for kind, shape in SHAPES
    ]
    expected = filled(made)
    made.let_go()
    for array, before in zip(made.arrays, expected, strict=True):
        np.testing.assert_array_equal(array, before)
    assert list(tmp_path.iterdir()) == []


def test_what_was_looked_into_is_no_memory_of_the_process_once_it_is_let_go():
    made = MappedArrays([(np.int64, (1 << 21,))])
    made.arrays[0][:] = 1
    before = resident()
    made.let_go()
    assert before - resident() > 12 << 20
    assert made.arrays[0].sum() == 1 << 21


def test_without_room_on_the_disk_arrays_are_plain_memory(monkeypatch):
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    made = MappedArrays(SHAPES)
    expected = filled(made)
    made.let_go()
    np.testing.assert_array_equal(made.arrays[1], expected[1])


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        pytest.skip("no /proc")
