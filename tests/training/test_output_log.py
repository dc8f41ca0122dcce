"""What is printed can be read while it is printed, and stays bounded whatever comes."""

from __future__ import annotations

from varv.training.output_log import OutputLog, output_path

KEEP = 1000


def test_output_is_there_as_soon_as_it_was_printed(tmp_path):
    path = output_path(tmp_path, "late", 7)
    log = OutputLog(path, KEEP)
    log.begin("fit-1")
    assert not path.exists()
    log.write(b"epoch 1\n")
    assert path.read_bytes() == b"[fit-1]\nepoch 1\n"
    log.begin("fit-2")
    log.write(b"epoch 2\n")
    log.write(b"epoch 3\n")
    assert path.read_bytes().endswith(b"epoch 1\n[fit-2]\nepoch 2\nepoch 3\n")


def test_of_much_output_the_beginning_and_the_end_are_kept(tmp_path):
    path = tmp_path / "1.log"
    log = OutputLog(path, KEEP)
    lines = [f"line {number:05d}\n".encode() for number in range(2000)]
    for line in lines:
        log.write(line)
        assert path.stat().st_size < 5 * KEEP
    log.finish()
    text = path.read_text()
    assert text.startswith("line 00000\nline 00001\n")
    assert text.endswith("line 01998\nline 01999\n")
    assert f"[{11 * 2000 - KEEP} bytes are not kept]\n" in text
    assert text.count("are not kept") == 1
    log.finish()
    assert path.read_text() == text


def test_one_piece_that_is_far_too_long_is_cut(tmp_path):
    log = OutputLog(tmp_path / "1.log", KEEP)
    log.write(b"x" * 1_000_000)
    log.finish()
    assert (tmp_path / "1.log").stat().st_size < KEEP + 50


def test_what_was_printed_before_a_restart_stays(tmp_path):
    path = tmp_path / "1.log"
    OutputLog(path, KEEP).write(b"before\n")
    after = OutputLog(path, KEEP)
    after.write(b"after\n")
    after.finish()
    assert path.read_bytes() == b"before\nafter\n"


def test_a_place_that_cannot_be_written_costs_the_output_only(tmp_path):
    (tmp_path / "file").write_text("no folder")
    log = OutputLog(tmp_path / "file" / "1.log", KEEP)
    log.write(b"lost\n")
    log.finish()
