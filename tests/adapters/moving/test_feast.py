"""A repository of Feast is opened wherever its registry is, and none of its code runs."""

from __future__ import annotations

import pytest
from tests.features.moving.recorded import DUMP, REGISTRY, in_sql, repository

from varv.adapters.moving.feast import open_feast
from varv.adapters.moving.feast_values import Asked, feast_values
from varv.kernel.errors import InvalidInput, NotFound, Unavailable

SQL = "registry:\n  registry_type: sql\n  path: "


@pytest.fixture
def from_file(tmp_path):
    return open_feast(repository(tmp_path / "file"), {}).registry


@pytest.mark.parametrize(
    "place", ["sqlite:///{folder}/reg.db", "sqlite:///reg.db", "${PLACE}/reg.db", "$PLACE/reg.db"]
)
def test_a_database_says_what_the_file_says(tmp_path, from_file, place):
    folder = tmp_path / "sql"
    repository(
        folder, SQL + place.format(folder=folder, PLACE="{PLACE}") if "$" not in place else SQL + place
    )
    in_sql(folder / "reg.db")
    found = open_feast(folder, {"PLACE": f"sqlite:///{folder}"})
    assert found.registry == from_file
    assert {one.field for one in found.items} == {1, 6, 7, 8, 12, 14, 17}


def test_a_registry_is_taken_from_where_it_was_copied_to(tmp_path, from_file):
    folder = repository(tmp_path / "moved", "registry: s3://bucket/registry.db")
    with pytest.raises(InvalidInput, match="elsewhere") as refused:
        open_feast(folder, {})
    assert "--registry" in refused.value.hint
    assert open_feast(folder, {}, REGISTRY).registry == from_file
    assert open_feast(folder, {}, DUMP).items == ()


@pytest.mark.parametrize(
    ("registry", "says"),
    [
        ("registry: data/gone.db", "cannot be read"),
        ("registry:\n  registry_type: snowflake.registry", "directly"),
        ("registry: ${NOT_SET}/registry.db", "is not set"),
        (SQL + "sqlite:///data/registry.pb", "cannot be read"),
        (SQL + "sqlite:///empty.db", "feature_views"),
        (SQL + "oracle://x", "directly"),
        ("offline_store: file", "names no registry"),
        ("registry: !!python/object:os.system x", "YAML"),
    ],
)
def test_a_registry_that_cannot_be_read_says_why(tmp_path, registry, says):
    folder = repository(tmp_path / "repository", registry)
    (folder / "empty.db").write_bytes(b"")
    with pytest.raises((InvalidInput, NotFound), match=says):
        open_feast(folder, {})


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(NotFound, match=r"feature_store\.yaml"):
        open_feast(tmp_path, {})


def test_what_cannot_give_values_is_refused_with_its_reason(tmp_path):
    found = open_feast(repository(tmp_path / "repository"), {})
    with pytest.raises(NotFound, match="interpreter"):
        feast_values(found, str(tmp_path / "python"), [], {})
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho no feast here >&2\nexit 3\n")
    failing.chmod(0o755)
    with pytest.raises(Unavailable, match="no feast here"):
        feast_values(found, str(failing), list[Asked](), {})
    dump = open_feast(found.folder, {}, DUMP)
    with pytest.raises(InvalidInput, match="dump"):
        feast_values(dump, str(failing), [], {})


def test_a_project_of_which_the_registry_holds_nothing_is_refused(tmp_path):
    folder = repository(tmp_path / "repository")
    (folder / "feature_store.yaml").write_text("project: another\nregistry: data/registry.pb\n")
    with pytest.raises(InvalidInput, match="has nothing in the registry"):
        open_feast(folder, {})
