"""What was acknowledged is on record, whenever the process ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from varv.kernel.errors import Corrupt, InvalidInput, StorageFull
from varv.serving import Capture, CaptureLog, capture
from varv.serving.capture import encoded_line, is_abandoned, keep_flushed, read_captures


def row(number: int, **more: object) -> Capture:
    return Capture(table="predictions", row={"n": number, **more})


def numbers(folder) -> list[int]:
    return [found.row["n"] for path in sorted(folder.glob("*.jsonl")) for found in read_captures(path)]


def test_rows_come_back_as_they_were_written(tmp_path):
    log = CaptureLog(tmp_path)
    given = row(1, text="ö\n\u2028", nothing=None, nested={"a": [1.5, True]})
    log.write(given, row(2))
    log.close()
    [path] = tmp_path.glob("*.jsonl")
    assert read_captures(path) == [given, row(2)]


def test_an_older_file_without_seals_is_read(tmp_path):
    (tmp_path / "000000000001.jsonl").write_text('{"table":"predictions","row":{"n":1}}\n')
    assert numbers(tmp_path) == [1]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0].replace(b'"n":1', b'"n":7'), *lines[1:]], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[0], lines[2], lines[1]], 2),
        (lambda lines: [lines[0], b'{"table":"predictions","row":{"n":9}}\n', *lines[1:]], 2),
        (lambda lines: [lines[0], lines[1].replace(b"seal", b"sail"), lines[2]], 2),
    ],
)
def test_a_line_that_was_touched_is_named(tmp_path, change, line):
    log = CaptureLog(tmp_path)
    log.write(row(1), row(2))
    log.write(row(3))
    log.close()
    [path] = tmp_path.glob("*.jsonl")
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(Corrupt, match=path.name) as found:
        read_captures(path)
    assert found.value.facts["line"] == line


def test_a_file_in_the_place_of_another_is_named(tmp_path):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    [first] = log.seal()
    log.write(row(2))
    log.close()
    [_, second] = sorted(tmp_path.glob("*.jsonl"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(Corrupt, match=second.name):
        read_captures(second)


def test_a_row_that_the_disk_refused_is_missed_by_no_seal(tmp_path, monkeypatch):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    with monkeypatch.context() as patch:
        patch.setattr(capture, "_write_all", full)
        with pytest.raises(StorageFull):
            log.write(row(2))
    log.write(row(3))
    log.close()
    assert numbers(tmp_path) == [1, 3]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_sealing_hands_over_all_earlier_files_and_goes_on_in_a_new_one(tmp_path):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    first = log.seal()
    log.write(row(2))
    second = log.seal()
    assert [path.name for path in second][:1] == [path.name for path in first]
    assert [len(read_captures(path)) for path in second] == [1, 1]
    for path in second:
        path.unlink()
    log.write(row(3))
    assert [found.row["n"] for path in log.seal() for found in read_captures(path)] == [3]


def test_a_log_that_is_opened_again_leaves_old_files_as_they_are(tmp_path):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    log.close()
    again = CaptureLog(tmp_path)
    again.write(row(2))
    again.flush()
    assert numbers(tmp_path) == [1, 2]
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_left_out(tmp_path, cut):
    log = CaptureLog(tmp_path)
    log.write(row(1), row(2))
    log.close()
    [path] = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    assert numbers(tmp_path) == [1]


@pytest.mark.parametrize("bad", [b"{}\n", b"\n", b"\xff\n", b'{"table":1,"row":{}}\n'])
def test_a_bad_line_that_is_not_the_last_is_reported_with_its_number(tmp_path, bad):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    log.close()
    [path] = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + bad)
    with pytest.raises(Corrupt, match=r"has a bad line \(line=2"):
        read_captures(path)


def test_a_row_that_is_too_large_is_refused_and_nothing_of_its_batch_is_kept(tmp_path):
    log = CaptureLog(tmp_path)
    with pytest.raises(InvalidInput, match="row 'predictions' is too large"):
        log.write(row(1), row(2, text="x" * (1 << 20)))
    log.write(row(3))
    log.close()
    assert numbers(tmp_path) == [3]


def test_a_write_that_fails_half_way_does_not_spoil_the_next(tmp_path, monkeypatch):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    real = os.write

    def full(file, data):
        real(file, bytes(data)[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StorageFull, match="no space left on device"):
            log.write(row(2))
    log.write(row(3))
    log.close()
    assert numbers(tmp_path) == [1, 3]


def test_threads_do_not_mix_their_lines(tmp_path):
    log = CaptureLog(tmp_path)

    def write(start):
        for number in range(start, start + 200):
            log.write(row(number, text="x" * 500))

    writers = [threading.Thread(target=write, args=(1000 * number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log.close()
    expected = [1000 * writer + number for writer in range(4) for number in range(200)]
    assert sorted(numbers(tmp_path)) == expected


WRITER = """
import sys
from pathlib import Path
from varv.serving import Capture, CaptureLog, capture
log = CaptureLog(Path(sys.argv[1]))
number = 0
while True:
    log.write(Capture(table="predictions", row={"n": number, "text": "x" * (number % 3000)}))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
    if number % 50 == 0:
        log.seal()
"""


@pytest.mark.parametrize("after", [1, 60, 333])
def test_every_row_that_was_acknowledged_survives_a_kill(tmp_path, after):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        acknowledged = -1
        while acknowledged < after:
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
    acknowledged = max([acknowledged, *(int(line) for line in rest if line)])
    found = numbers(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) > acknowledged


def test_a_log_that_cannot_start_a_new_file_goes_on_with_the_one_it_has(tmp_path, monkeypatch):
    log = CaptureLog(tmp_path)
    log.write(row(1))
    real = os.open

    def full(path, flags, *rest):
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return real(path, flags, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        with pytest.raises(StorageFull):
            log.seal()
    log.write(row(2))
    assert [len(read_captures(path)) for path in log.seal()] == [2]


def test_a_log_whose_folder_could_not_be_made_makes_it_with_the_first_row(tmp_path, monkeypatch):
    log = CaptureLog(tmp_path / "log")
    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space")))
        with pytest.raises(StorageFull):
            log.open()
    log.write(row(1))
    assert numbers(tmp_path / "log") == [1]


def test_rows_that_could_not_be_made_durable_are_not_in_the_log(tmp_path, monkeypatch):
    log = CaptureLog(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StorageFull, match="input/output error"):
            log.keep(row(1))
    log.keep(row(2))
    assert numbers(tmp_path) == [2]


def test_a_log_is_abandoned_once_nobody_holds_its_lock(tmp_path):
    log = CaptureLog(tmp_path / "log")
    log.open()
    assert not is_abandoned(tmp_path / "log")
    log.close()
    assert is_abandoned(tmp_path / "log")


@pytest.fixture
def synced(monkeypatch):
    """Return the sizes of files when they were brought to the disk."""
    found: list[int] = []
    sync = os.fsync

    def fsync(file):
        found.append(os.fstat(file).st_size)
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_without_a_window_lines_are_on_the_disk_before_the_call_returns(tmp_path, synced):
    log = CaptureLog(tmp_path, at_once=True)
    for number in range(3):
        log.write_lines(b"", [encoded_line(row(number))])
        assert len(synced) == number + 1
        assert synced[-1] == next(tmp_path.glob("*.jsonl")).stat().st_size
    log.flush()
    assert len(synced) == 3


def test_a_window_costs_a_flush_only_where_something_came(tmp_path, synced):
    log, stop = CaptureLog(tmp_path), threading.Event()
    log.write_lines(b"", [encoded_line(row(1))])
    thread = threading.Thread(target=keep_flushed, args=(log, 0.001, stop))
    thread.start()
    while not synced:
        stop.wait(0.001)
    stop.wait(0.05)
    assert len(synced) == 1
    log.write(row(2))
    while len(synced) < 2:
        stop.wait(0.001)
    stop.set()
    thread.join()
    assert synced[-1] == next(tmp_path.glob("*.jsonl")).stat().st_size


def test_a_disk_that_refuses_a_flush_is_asked_again(tmp_path, monkeypatch):
    log, stop, n_tried = CaptureLog(tmp_path), threading.Event(), []
    log.write(row(1))

    def fsync(_):
        n_tried.append(1)
        if len(n_tried) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        stop.set()

    monkeypatch.setattr(os, "fsync", fsync)
    keep_flushed(log, 0.001, stop)
    assert len(n_tried) == 3


def test_a_file_that_was_gone_on_from_is_brought_to_the_disk_by_the_next_seal(tmp_path, synced, monkeypatch):
    monkeypatch.setattr(capture, "_MOST_BYTES", 200)
    log = CaptureLog(tmp_path)
    for number in range(6):
        log.write(row(number, text="x" * 100))
    assert not synced
    paths = log.seal()
    assert sorted(synced) == sorted(path.stat().st_size for path in paths)
    log.close()
    assert sorted(synced) == sorted(path.stat().st_size for path in paths)
