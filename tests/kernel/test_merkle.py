"""The tree against the definition of RFC 6962, keys, and the file of checkpoints."""

from __future__ import annotations

import base64
import hashlib
import stat

import pytest

from varv.kernel import merkle
from varv.kernel.codec import canonical
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.merkle import (
    EVERY,
    Checkpoint,
    Notary,
    SigningKey,
    Tree,
    is_torn_checkpoint,
    read_checkpoints,
    read_kept,
    signed_by,
)


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


def test_the_root_is_that_of_the_definition_at_every_size():
    tree, leaves = Tree(), []
    for n in range(70):
        assert tree.root() == by_definition(leaves)
        leaves.append(b"%d" % n)
        tree.add(leaves[-1])


def test_a_known_root():
    """The test vector of the certificate-transparency project for eight leaves."""
    tree = Tree()
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ):
        tree.add(bytes.fromhex(leaf))
    assert tree.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_a_key_is_made_once_and_is_its_owners(tmp_path):
    key = SigningKey(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert SigningKey(tmp_path / "key").public() == key.public()
    assert SigningKey(tmp_path / "other").public() != key.public()


@pytest.mark.parametrize("text", ["", "abcd", "zz" * 32])
def test_a_file_that_is_no_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(Corrupt, match="key"):
        SigningKey(tmp_path / "key")


def test_a_signature_covers_size_and_root(tmp_path):
    key = SigningKey(tmp_path / "key")
    signed = key.sign(7, bytes(32))
    assert signed_by(signed, key.public())
    assert not signed_by(Checkpoint(8, bytes(32), signed.note), key.public())
    assert not signed_by(Checkpoint(7, b"\x01" * 32, signed.note), key.public())
    assert not signed_by(Checkpoint(7, bytes(32), signed.note.replace("\n7\n", "\n8\n")), key.public())
    assert not signed_by(Checkpoint(7, bytes(32), "unsigned"), key.public())


def test_a_note_has_the_form_of_a_signed_note(tmp_path):
    note = SigningKey(tmp_path / "key").sign(7, bytes(32)).note
    text, signature = note.split("\n\n")
    assert text.split("\n") == ["varv/ledger", "7", base64.b64encode(bytes(32)).decode()]
    assert signature.startswith("— varv/ledger ")
    assert len(base64.b64decode(signature.split(" ")[2])) == 4 + 64


def test_a_line_that_a_crash_cut_short_is_left_out_and_then_overwritten(tmp_path):
    path, key = tmp_path / "checkpoints.jsonl", SigningKey(tmp_path / "key")
    hashes = [bytes([n % 256]) * 32 for n in range(2 * EVERY)]
    Notary(path, key).cover(EVERY, lambda after: hashes[after:EVERY])
    with path.open("ab") as file:
        file.write(b'{"note":"varv/led')
    assert [c.size for c in read_checkpoints(path)] == [EVERY]
    again = Notary(path, key)
    assert again.size == EVERY
    again.cover(2 * EVERY, lambda after: hashes[after:])
    assert [c.size for c in read_checkpoints(path)] == [EVERY, 2 * EVERY]
    assert read_checkpoints(path)[1].root == by_definition(hashes)


def test_a_few_entries_are_signed_when_the_last_checkpoint_is_old(tmp_path, monkeypatch):
    monkeypatch.setattr(merkle, "EVERY_S", 0.0)
    notary = Notary(tmp_path / "checkpoints.jsonl", SigningKey(tmp_path / "key"))
    hashes = [bytes([n]) * 32 for n in range(3)]
    assert [notary.cover(size, lambda after, n=size: hashes[after:n]) for size in (2, 2, 3)] == [
        True,
        False,
        True,
    ]
    assert [c.size for c in read_checkpoints(tmp_path / "checkpoints.jsonl")] == [2, 3]


@pytest.mark.parametrize(
    ("tail", "torn"), [(b"", True), (b'{"no', True), (b'{"note":"varv/ledger\\n7', True), (b"\0" * 9, False)]
)
def test_what_a_crash_left_of_a_line_is_told_from_garbage(tmp_path, tail, torn):
    assert is_torn_checkpoint(tail) is torn


def test_a_copy_kept_elsewhere_is_a_file_of_checkpoints_or_one_note(tmp_path):
    signed = SigningKey(tmp_path / "key").sign(7, bytes(32))
    (tmp_path / "note").write_text(signed.note)
    (tmp_path / "lines").write_bytes(canonical({"note": signed.note}))
    assert read_kept(tmp_path / "note") == read_kept(tmp_path / "lines") == [signed]
    with pytest.raises(NotFound):
        read_kept(tmp_path / "nothing")
    (tmp_path / "lines").write_text("")
    with pytest.raises(Corrupt, match="no checkpoint"):
        read_kept(tmp_path / "lines")


def test_a_key_that_is_gone_is_not_replaced_in_silence(tmp_path):
    with pytest.raises(Corrupt, match="is gone"):
        SigningKey(tmp_path / "key", create=False)
    assert not (tmp_path / "key").exists()


def test_a_whole_line_that_is_no_checkpoint_is_corrupt(tmp_path):
    (tmp_path / "checkpoints.jsonl").write_text("{}\n")
    with pytest.raises(Corrupt):
        read_checkpoints(tmp_path / "checkpoints.jsonl")
