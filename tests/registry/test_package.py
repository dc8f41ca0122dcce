"""A package is bytes that open to what was packed, whatever else claims to be one."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from varv.kernel.environment import environment
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Column, Package, Signature, open_package, packed
from varv.registry import package as module
from varv.tasks import TaskSpec

COLUMNS = (Column("wind", "number"), Column("origin", "text"), Column("plane", "number", dtype="int64"))
PACKAGE = Package(
    task=TaskSpec("binary"),
    estimator="somewhere.Model",
    signature=Signature(COLUMNS, form="columns"),
    environment=environment(),
    params={"depth": 3},
    seed=1,
    n_rows=100,
    runtime="python",
    not_onnx="has no ONNX form",
    probe=((0.5, "JFK", 2**60), (None, "", -1)),
    probe_scores=((0.25,), (0.75,)),
    files={
        "python.json": b"{}",
        "source/model.py": b"class Model: ...\n",
        "state/weights-1.bin": bytes(range(256)),
    },
)
FIRST_FORMAT = (
    b'{"environment":{"libraries":{"numpy":"2.4.6"},"platform":"linux-x86_64","python":"3.11.7"},'
    b'"estimator":"sklearn.linear_model.LogisticRegression","format":1,"n_rows":10,"onnx":"AQID","params":{},'
    b'"probe":[[0.5,null],[1.0,2.0]],"probe_scores":[0.25,0.5],"seed":7,"signature":{"columns":['
    b'{"categories":["EWR","JFK"],"kind":"category","name":"origin"},'
    b'{"categories":[],"kind":"number","name":"wind"}]}}'
)


def test_a_package_opens_as_it_was_packed():
    assert open_package(packed(PACKAGE)) == PACKAGE


def test_equal_packages_have_equal_bytes_whatever_the_order_of_their_files():
    turned = msgspec.structs.replace(PACKAGE, files=dict(reversed(PACKAGE.files.items())))
    assert packed(turned) == packed(PACKAGE)


def test_files_are_kept_as_they_are_and_the_head_can_be_read_by_people():
    head, manifest, rest = packed(PACKAGE).split(b"\n", 2)
    assert head == b"varv package 2"
    assert msgspec.json.decode(manifest)["sizes"] == {name: len(data) for name, data in PACKAGE.files.items()}
    assert rest == b"".join(PACKAGE.files.values())


def test_probe_rows_come_back_with_the_types_that_a_model_is_fed():
    rows = PACKAGE.probe_rows()
    assert [rows[name].dtype for name in ("wind", "origin", "plane")] == [np.float32, object, np.int64]
    assert rows["plane"].tolist() == [2**60, -1]
    assert np.isnan(rows["wind"][1])


def test_a_package_of_the_first_format_opens_as_one_of_todays():
    package = open_package(FIRST_FORMAT)
    assert (package.runtime, package.task, package.width) == ("onnx", TaskSpec("binary"), 1)
    assert package.files == {"model.onnx": b"\x01\x02\x03"}
    assert package.signature == Signature(
        (Column("origin", "category", ("EWR", "JFK")), Column("wind", "number"))
    )
    assert package.probe_scores == ((0.25,), (0.5,))
    np.testing.assert_array_equal(package.probe_rows(), np.array([[0.5, np.nan], [1, 2]], np.float32))


def test_a_difference_is_relative_where_numbers_are_large():
    assert PACKAGE.difference(np.array([[0.25], [0.75]], np.float32)) == 0
    assert PACKAGE.difference(np.array([[0.25], [0.85]], np.float32)) == pytest.approx(0.1)
    assert np.isnan(PACKAGE.difference(np.array([[0.25], [np.nan]], np.float32)))
    assert np.isnan(PACKAGE.difference(np.array([[0.25, 0.75]], np.float32)))


@pytest.mark.parametrize("spoil", [b"", b"{}", b"\x80\x04\x95", b"[1]", b'{"format":1}', b"varv package 2\n"])
def test_bytes_that_are_no_package_are_refused(spoil):
    with pytest.raises(Corrupt, match="does not decode"):
        open_package(spoil)


@pytest.mark.parametrize("end", [-1, -10, 40, 16])
def test_a_cut_package_is_refused(end):
    with pytest.raises(Corrupt, match="does not decode"):
        open_package(packed(PACKAGE)[:end])


def test_a_package_with_something_behind_it_is_refused():
    with pytest.raises(Corrupt, match="does not decode"):
        open_package(packed(PACKAGE) + b"x")


def test_a_package_of_a_later_format_says_so():
    with pytest.raises(Corrupt, match=r"of a format that is not known .*varv package 3.*upgrade varv"):
        open_package(b"varv package 3\n{}\n")


def test_a_huge_package_is_refused_before_it_is_read(monkeypatch):
    data = packed(PACKAGE)
    monkeypatch.setattr(module, "LARGEST_BYTES", 10)
    with pytest.raises(Corrupt, match="is too large"):
        open_package(data)
    with pytest.raises(InvalidInput, match="is too large"):
        packed(PACKAGE)


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/../b", "/etc/passwd", "a//b", "a\\b", "C:/x", ".hidden", "a\nb", "a b", "x" * 201],
)
def test_a_file_whose_name_could_leave_its_folder_is_refused(name):
    with pytest.raises(InvalidInput, match="has a name that a package cannot hold"):
        packed(msgspec.structs.replace(PACKAGE, files={name: b""}))
    forged = packed(msgspec.structs.replace(PACKAGE, files={"n": b""}))
    forged = forged.replace(b'"sizes":{"n":0}', b'"sizes":{%s:0}' % msgspec.json.encode(name))
    with pytest.raises(Corrupt, match="has a name that a package cannot hold"):
        open_package(forged)


def test_sizes_that_do_not_add_up_are_refused():
    two = packed(msgspec.structs.replace(PACKAGE, files={"a": b"1", "b": b"22"}))
    assert open_package(two).files == {"a": b"1", "b": b"22"}
    with pytest.raises(Corrupt, match="does not decode"):
        open_package(two.replace(b'"a":1,"b":2', b'"a":5,"b":-2'))


def test_more_files_than_a_package_holds_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    with pytest.raises(InvalidInput, match="has too many files"):
        packed(PACKAGE)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(Corrupt, match=r"has no file 'model.onnx'"):
        PACKAGE.file("model.onnx")
    assert PACKAGE.folder("source") == {"model.py": b"class Model: ...\n"}
