"""What would run code when it is loaded is told by what it holds, whatever it is called and packed in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.registry import contents
from varv.registry.contents import code_in, pickled_names


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def zipped(data, name="data.pkl"):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def tarred(data, name="data.pkl"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


PACKERS = {
    "zip": zipped,
    "tar": tarred,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
}


def found(data, name="model.onnx"):
    return code_in(name, io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("packed", ["as it is", *PACKERS])
def test_a_pickle_is_found_in_any_protocol_and_packing(tmp_path, protocol, packed):
    data = pickle.dumps({"weights": [1, Bomb(tmp_path / "made")]}, protocol)
    [one] = found(PACKERS.get(packed, bytes)(data))
    assert one.what in ("is a pickle that names io.open", "is a pickle that names _io.open")
    assert one.file.startswith("model.onnx")
    assert not (tmp_path / "made").exists()


@given(st.lists(st.sampled_from(list(PACKERS)), min_size=1, max_size=3))
def test_a_pickle_is_found_in_packings_of_packings(packings):
    data = pickle.dumps(Bomb("made"))
    for name in packings:
        data = PACKERS[name](data)
    assert any("is a pickle" in one.what for one in found(data))


HIDDEN = {
    "behind a long text": lambda bomb: [("x" * 300_000), bomb],
    "behind long bytes": lambda bomb: [bytes(300_000), bomb],
    "behind many values": lambda bomb: [*range(60_000), bomb],
}


@pytest.mark.parametrize("protocol", [0, 1, 4])
@pytest.mark.parametrize("packed", ["as it is", "zip", "gzip"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_pickle_that_begins_with_much_that_is_harmless_is_found(hidden, packed, protocol):
    data = pickle.dumps(HIDDEN[hidden](Bomb("made")), protocol)
    assert "is a pickle" in found(PACKERS.get(packed, bytes)(data))[0].what


@pytest.mark.parametrize(
    "data",
    [
        b"cevil\nname\n.",
        b"c evil\nname\n."[:1] + b"ev-il\nname\n.",
        b"\x8c\x04this20\x94h\x00h\x00\x93.",
        b"(ios\nsystem\n.",
    ],
)
def test_a_pickle_that_only_imports_is_found(data):
    assert "is a pickle" in found(data)[0].what


def test_what_is_packed_deeper_than_is_looked_counts_as_code():
    data = pickle.dumps(Bomb("made"))
    for _ in range(contents.DEEPEST + 1):
        data = zipped(data)
    assert [one.what for one in found(data)] == ["is packed too deep, or too large to be looked into"]


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_what_joblib_writes_is_found(compress):
    made = io.BytesIO()
    joblib.dump({"model": Bomb("made")}, made, compress=compress)
    [one] = found(made.getvalue())
    assert "is a pickle" in one.what


def test_other_things_that_run_are_found():
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    assert "Python objects" in found(objects.getvalue())[0].what
    assert found(b"print()", "code/loader.py")[0].what == "is code"
    assert found(b"#!/bin/sh\n", "run")[0].what == "is code"
    assert found(b"\x7fELF\x02", "model.onnx")[0].what == "is compiled code"
    layer = b'{"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda"}]}}'
    assert found(zipped(layer, "config.json"), "m.keras")[0].what == "has a Keras layer that holds code"
    assert "LZ4" in found(b"\x04\x22\x4d\x18rest")[0].what


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"tree\nversion=v4\nnum_class=1\n",
        b'{"learner": {"attributes": {}}}',
        b"channels:\n- conda-forge\n",
        b"carrier\ndistance\nRoute\nSize\n",
        b"intercept\nslope\n",
        b"\x80\x04\x00\x00\x00\x00\x00\x00{}",
        b"x\x01\x00\x00\x00\x00\x00\x00" + b'{"a": {"dtype": "F32"}}',
        b"]\x00\x00\x00\x00\x00\x00\x00" + b'{"a": {"dtype": "F32"}}',
        b"#!\x00\x00\x00\x00\x00\x00" + b'{"a": {"dtype": "F32"}}',
    ],
)
def test_plain_data_is_no_code(data):
    assert found(data) == []


def test_arrays_of_numbers_in_an_archive_are_no_code():
    made = io.BytesIO()
    np.savez(made, a=np.zeros(3), b=np.array(["x"]))
    assert found(made.getvalue()) == []


@given(st.binary(max_size=2000))
def test_any_bytes_are_looked_at_without_failing(data):
    for one in (data, zipped(data), data + zipped(b"x"), b"PK\x03\x04" + data, b"\x1f\x8b" + data):
        found(one)


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none())), st.integers(2, 5))
def test_a_pickle_of_plain_values_is_a_pickle_too(values, protocol):
    assert pickled_names(io.BytesIO(pickle.dumps(values, protocol))) is not None


def test_an_archive_that_unpacks_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(contents, "MOST_BYTES", 1024 * 1024)
    inner = zipped(bytes(8 * 1024 * 1024), "zeros.zip")
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(40):
            archive.writestr(f"{place}.zip", b"PK\x03\x04" + bytes(100_000) + inner)
    assert "holds more than is looked into" in {one.what for one in found(outer.getvalue())}
