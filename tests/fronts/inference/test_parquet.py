"""Dataframes in Parquet: the same answers as in JSON, and files that are none or mean harm."""

from __future__ import annotations

import datetime
import io
import os
import threading
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fronts.asking import asking
from tests.home.live_home import REQUEST

from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.parquet import PARQUET, ParquetReader
from varv.fronts.problems import TooLarge
from varv.kernel.errors import InvalidInput, Unavailable

FROM_PANDAS = Path(__file__).with_name("from_pandas.parquet")
RECORD = {name: values[0] for name, values in REQUEST.items()}
ROWS = [{**RECORD, "load": n / 3, "heat": None if n == 1 else 0.1 * n} for n in range(50)]
FEW = SimpleNamespace(max_rows=100)
COMPRESSED = {"compression": "zstd"}


def written(frame: pl.DataFrame, **how) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, **how)
    return file.getvalue()


GOOD = written(pl.DataFrame({"load": [0.5, 1.5], "route": ["north", "south"]}))


@pytest.fixture(scope="module")
def client(lived, tmp_path_factory):
    home = lived(tmp_path_factory.mktemp("home"))
    inference = Inference()
    inference.models = dict(home.answering_of)
    with asking(create_inference(inference)) as made:
        yield made
    inference.parquet.close()
    home.close()


@pytest.fixture(scope="module")
def reader():
    made = ParquetReader()
    yield made
    made.close()


def asked(client, body, content_type=PARQUET):
    return client.post("/invocations", content=body, headers={"content-type": content_type})


@pytest.mark.parametrize("compression", ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_a_file_is_answered_as_its_rows_in_json_are(client, compression):
    expected = client.post("/invocations", json={"dataframe_records": ROWS}).content
    answer = asked(client, written(pl.DataFrame(ROWS), compression=compression))
    assert (answer.status_code, answer.content) == (200, expected)


def test_a_file_of_pandas_is_answered_without_the_numbers_of_its_rows(client):
    rows = [
        {"load": 0.5, "heat": 1.0, "route": "north"},
        {"load": 1.25, "heat": None, "route": "south"},
        {"load": 2.0, "heat": 3.0, "route": "north"},
    ]
    expected = client.post("/invocations", json={"dataframe_records": rows}).content
    assert asked(client, FROM_PANDAS.read_bytes(), f"{PARQUET}; charset=utf-8").content == expected


def test_what_is_none_is_refused_in_the_form_of_the_protocol(client):
    for body, status in (
        (b"PAR1 and no more", 400),
        (GOOD[:-9], 400),
        (written(pl.DataFrame({"load": [[1.0]]})), 400),
        (written(pl.DataFrame({"load": []}, schema={"load": pl.Float64})), 400),
        (written(pl.DataFrame({"load": [1.0], "colour": ["red"]})), 400),
        (written(pl.DataFrame([RECORD] * 101)), 413),
    ):
        answer = asked(client, body)
        assert answer.status_code == status, answer.text
        assert answer.json()["error_code"] == "INVALID_INPUT"
        assert answer.json()["message"]
    assert asked(client, GOOD, "application/vnd.apache.orc").status_code == 415


def test_values_come_as_json_would_bring_them(reader):
    at = datetime.datetime(2026, 2, 1, 5, 0, 0, 250_000)
    frame = pl.DataFrame(
        {
            "single": pl.Series([0.1, float("nan"), None], dtype=pl.Float32),
            "whole": pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64),
            "true": [True, None, False],
            "at": pl.Series([at, None, at]).dt.replace_time_zone("Europe/Berlin"),
            "naive": pl.Series([at, None, at], dtype=pl.Datetime("ns")),
            "day": [datetime.date(2026, 2, 1)] * 3,
            "price": [Decimal("1.10"), None, Decimal("0.30")],
            "kind": pl.Series(["a", "b", None], dtype=pl.Categorical),
            "bytes": ["ö".encode(), b"", None],
            "nothing": [None] * 3,
        }
    )
    assert reader.columns(written(frame), FEW) == {
        "single": [0.10000000149011612, None, None],
        "whole": [2**64 - 1, 0, None],
        "true": [True, None, False],
        "at": ["2026-02-01T04:00:00.250000Z", None, "2026-02-01T04:00:00.250000Z"],
        "naive": ["2026-02-01T05:00:00.250000Z", None, "2026-02-01T05:00:00.250000Z"],
        "day": ["2026-02-01"] * 3,
        "price": [1.1, None, 0.3],
        "kind": ["a", "b", None],
        "bytes": ["ö", "", None],
        "nothing": [None] * 3,
    }


def test_what_cannot_be_plain_is_refused(reader):
    for series in ([[1.0]], [{"a": 1}], [datetime.timedelta(1)], [b"\xff"]):
        with pytest.raises(InvalidInput, match="no Parquet that is read here"):
            reader.columns(written(pl.DataFrame({"x": series})), FEW)


def lying(page_bytes: int) -> bytes:
    """Return a file of a kilobyte whose page says that it is so large once it is decompressed."""
    data = written(pl.DataFrame({"s": ["x" * 20_000, "y" * 20_000]}), **COMPRESSED)
    # After the mark and the kind of the page comes its size, a number of Thrift's compact protocol.
    start = data.index(b"\x15", 5) + 1
    end = next(place for place in range(start, len(data)) if data[place] < 128) + 1
    left, number = 2 * page_bytes, b""
    while left >= 128:
        number, left = number + bytes([left & 127 | 128]), left >> 7
    return data[:start] + number + bytes([left]) + data[end:]


def test_a_bomb_is_the_end_of_its_reader_and_of_nobody_else(reader):
    for size in ((1 << 31) - 1, 1 << 30):
        with pytest.raises(InvalidInput, match="in the memory for one request"):
            reader.columns(lying(size), FEW)
    large = written(pl.DataFrame({"s": ["x" * (4 << 20)] * 100}), **COMPRESSED)
    assert len(large) < 10_000
    with pytest.raises(TooLarge, match="419430400 bytes of text"):
        reader.columns(large, FEW)
    wide = written(pl.DataFrame({f"x{n}": [0.0] for n in range(10_001)}))
    with pytest.raises(TooLarge, match="10001 columns"):
        reader.columns(wide, FEW)
    assert reader.columns(GOOD, FEW)["load"] == [0.5, 1.5]


def test_a_reader_that_has_ended_is_replaced(reader):
    reader.columns(GOOD, FEW)
    process = reader._process
    os.kill(process.pid, 9)
    process.wait()
    assert reader.columns(GOOD, FEW)["route"] == ["north", "south"]
    assert reader._process is not process


def test_what_takes_too_long_is_refused_and_leaves_no_process():
    reader = ParquetReader(read_s=0.0)
    with pytest.raises(InvalidInput, match="takes too long"):
        reader.columns(GOOD, FEW)
    assert reader._process is None


def test_files_take_turns_and_wait_only_so_long():
    reader, answers = ParquetReader(wait_s=0.01), []
    with reader._turn, pytest.raises(Unavailable, match="waits for other files"):
        reader.columns(GOOD, FEW)
    reader = ParquetReader()
    threads = [
        threading.Thread(target=lambda: answers.append(reader.columns(GOOD, FEW)["load"])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader.close()
    assert answers == [[0.5, 1.5]] * 8


MUTATIONS = st.lists(st.tuples(st.integers(0, 880), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.booleans(), MUTATIONS)
def test_no_bytes_bring_anything_but_columns_or_a_refusal(reader, pandas, mutations):
    body = bytearray(FROM_PANDAS.read_bytes() if pandas else GOOD)
    for place, value in mutations:
        body[place % len(body)] = value
    try:
        columns = reader.columns(bytes(body), FEW)
    except InvalidInput:
        return
    assert len(set(map(len, columns.values()))) == 1
