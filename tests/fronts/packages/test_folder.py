"""An export goes into its folder and nowhere else, and over nothing but a former one."""

from __future__ import annotations

import pytest

from varv.fronts.packages.folder import MARK, write_folder
from varv.kernel.errors import AlreadyExists, Corrupt, NotFound

FILES = {"a.txt": b"1", "late/3/model.onnx": b"2"}


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_files_are_written_with_a_mark_beside_them(tmp_path):
    assert write_folder(FILES, tmp_path / "new" / "one", "triton") == ["a.txt", "late/3/model.onnx"]
    found = content(tmp_path / "new" / "one")
    assert {name: data for name, data in found.items() if name != MARK} == FILES


def test_a_former_export_is_replaced_without_a_rest(tmp_path):
    write_folder(FILES, tmp_path, "triton")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"")
    write_folder({"late/4/model.onnx": b"3"}, tmp_path, "triton")
    assert {name for name in content(tmp_path) if name != MARK} == {"late/4/model.onnx"}
    assert not (tmp_path / "late" / "3").exists()


def test_what_another_put_there_is_left_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AlreadyExists, match="was not written by varv"):
        write_folder(FILES, tmp_path, "triton")
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_an_export_with_something_else_in_it_is_left_as_it_is(tmp_path):
    write_folder(FILES, tmp_path, "triton")
    (tmp_path / "late" / "notes.txt").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(AlreadyExists, match="which varv did not write"):
        write_folder(FILES, tmp_path, "triton")
    assert content(tmp_path) == before


def test_an_export_for_another_target_is_left_as_it_is(tmp_path):
    write_folder(FILES, tmp_path, "triton")
    with pytest.raises(AlreadyExists, match="holds a package for triton, not for mlflow"):
        write_folder(FILES, tmp_path, "mlflow")


def test_a_mark_that_names_files_elsewhere_removes_none_of_them(tmp_path):
    outside, folder = tmp_path / "outside.txt", tmp_path / "export"
    outside.write_text("mine")
    folder.mkdir()
    for text in ('{"target": "triton", "files": ["../outside.txt"]}', "not JSON"):
        (folder / MARK).write_text(text)
        with pytest.raises(AlreadyExists, match="does not decode"):
            write_folder(FILES, folder, "triton")
    assert outside.read_text() == "mine"


def test_links_are_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "export"
    outside.mkdir()
    write_folder({"late/model.onnx": b"1"}, folder, "triton")
    (folder / "late" / "model.onnx").unlink()
    (folder / "late").rmdir()
    (folder / "late").symlink_to(outside)
    with pytest.raises(AlreadyExists):
        write_folder({"late/model.onnx": b"2"}, folder, "triton")
    assert not list(outside.iterdir())


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a//b", "a/./b", "a\\..\\b"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(Corrupt, match="outside"):
        write_folder({name: b""}, tmp_path / "new", "triton")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFound, match="cannot be written"):
        write_folder(FILES, tmp_path / "file" / "below", "triton")
