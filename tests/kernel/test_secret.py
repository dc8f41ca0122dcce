"""The secret of a home: made once, readable by its owner only, the same for the same source."""

from __future__ import annotations

import pytest

from varv.kernel.errors import Corrupt
from varv.kernel.secret import Secret


def test_a_key_is_made_when_it_is_needed_and_kept(tmp_path):
    path = tmp_path / "home" / "digest.key"
    secret = Secret(path)
    assert not path.exists()
    found = secret.digest(b"a city")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Secret(path).digest(b"a city") == found
    assert Secret(tmp_path / "other.key").digest(b"a city") != found
    assert [one.name for one in path.parent.iterdir()] == ["digest.key"]


def test_a_key_from_a_source_is_the_same_and_does_not_replace_another(tmp_path):
    one, two = Secret(tmp_path / "1.key"), Secret(tmp_path / "2.key")
    one.settle(b"rows")
    two.settle(b"rows")
    found = one.digest(b"a city")
    assert two.digest(b"a city") == found
    Secret(tmp_path / "1.key").settle(b"other rows")
    assert Secret(tmp_path / "1.key").digest(b"a city") == found


@pytest.mark.parametrize("text", ["", "no key", "ab" * 31])
def test_a_file_that_holds_no_key_says_so(tmp_path, text):
    (tmp_path / "digest.key").write_text(text)
    with pytest.raises(Corrupt, match=r"digest\.key"):
        Secret(tmp_path / "digest.key").digest(b"a city")
