from __future__ import annotations

import pytest

from varv.fronts.web.viewer import LONGEST_CELL, MOST_ROWS, MOST_TEXT_BYTES, picture, shown, text_of
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import NotFound
from varv.runs.artifacts import Artifact

from .tracked import SVG, png


@pytest.fixture
def blobs(tmp_path):
    return FolderBlobs(tmp_path)


@pytest.fixture
def seen(blobs):
    def look(path, data):
        return shown(blobs, Artifact(path, len(data), blobs.put(data)))

    return look


def test_a_table_of_lines_is_shown_by_its_columns(seen):
    found = seen("x.csv", b'\xef\xbb\xbfa,b\n1,"x, y"\n2\n')
    assert (found.kind, found.columns, found.rows) == ("table", ("a", "b"), (("1", "x, y"), ("2", "")))
    assert seen("x.tsv", b"a\tb\n1\t2\n").rows == (("1", "2"),)


def test_a_table_of_json_is_shown_and_another_document_is_text(seen):
    assert seen("t.json", b'{"columns": ["a"], "data": [[1], [null]]}').rows == (("1",), ("null",))
    assert seen("t.json", b'[{"a": 1}, {"a": 2, "b": "x"}]').rows == (("1", ""), ("2", "x"))
    for text in (b'{"columns": 3}', b'{"columns": ["a"], "data": [1]}', b"{", b"[" * 50_000, b"7"):
        assert seen("t.json", text).kind == "text"


def test_a_long_table_is_cut_and_says_so(seen):
    found = seen("x.csv", b"a\n" + b"y" * 500 + b"\n" + b"1\n" * 500)
    assert (len(found.rows), found.is_cut, len(found.rows[0][0])) == (MOST_ROWS, True, LONGEST_CELL)


def test_what_is_no_text_is_not_shown(seen):
    assert seen("x.bin", b"\x00\x01").kind == "none"
    assert seen("x.txt", b"\xff\xfe\x41").kind == "none"
    assert seen("x.csv", b"\x00,\x01\n").kind == "none"
    assert seen("x", b"").kind == "text"


def test_a_long_text_is_cut_between_its_characters(seen, blobs):
    data = b"x" + "ö".encode() * MOST_TEXT_BYTES
    found = seen("x.txt", data)
    assert found.kind == "text"
    assert found.is_cut
    assert set(found.text) == {"x", "ö"}
    assert text_of(blobs, Artifact("x.txt", len(data), blobs.put(data))) is None


def test_only_png_and_jpeg_are_pictures_whatever_they_are_called(seen, blobs):
    assert seen("x.svg", SVG).kind == "text"
    assert seen("x.txt", png()).kind == "picture"
    assert seen("x.png", b"<svg>").kind == "text"
    assert picture(blobs, Artifact("x", 3, blobs.put(b"\xff\xd8\xff")))[1] == "image/jpeg"
    with pytest.raises(NotFound):
        picture(blobs, Artifact("x.png", 5, blobs.put(b"<svg>")))
