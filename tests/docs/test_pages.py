import re
from pathlib import Path

import msgspec
import pytest

from varv.app.reference import main, pages
from varv.app.settings import Settings
from varv.kernel.codec import registered_events
from varv.kernel.errors import tree

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = pages()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_a_reference_page_is_what_the_code_says(name):
    assert (ROOT / "docs" / "reference" / name).read_text() == REFERENCE[name], "run make docs"


def test_help_is_printed_and_no_folder_of_its_name_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "folder" in capsys.readouterr().out
    assert main(["reference"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["reference"]
    assert {path.name for path in (tmp_path / "reference").iterdir()} == REFERENCE.keys()


def test_every_event_error_setting_and_verb_is_described():
    written = "".join(REFERENCE.values())
    for error in tree():
        assert f"`{error.code}`" in written
        assert error.__doc__
    for name, event in registered_events().items():
        if event.__module__.startswith("varv."):
            assert f"## {name}\n" in written
            assert event.__doc__
            assert event.__doc__ != msgspec.Struct.__doc__
    for name in Settings.__dataclass_fields__:
        assert f"`{name}`" in written


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_names_a_place_of_one_machine(page):
    assert not re.search(r"/work/|/root/|/tmp/|/home/\w", page.read_text())
