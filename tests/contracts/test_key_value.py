"""The behaviour of a store of packed features, in files and in Redis."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading

import pytest
from tests.app.serving import eventually

from varv.adapters.keyvalue.redis import RedisKeyValue
from varv.adapters.keyvalue.sqlite import SqliteKeyValue
from varv.features.online.entity_keys import entity_key
from varv.features.online.ports import Table

ONE, TWO = Table("last-0123", 1), Table("last-0123", 2)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    said = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([program, *said], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"

    def answers():
        with socket.socket() as tried:
            return True if tried.connect_ex(("127.0.0.1", port)) == 0 else None

    eventually(answers)
    yield url
    server.terminate()
    server.wait()


@pytest.fixture(params=["sqlite", "redis"])
def opened(request, tmp_path):
    """Return a function that opens the store once more, as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteKeyValue(tmp_path / "online", durable=False)
    url, space = request.getfixturevalue("redis_url"), tmp_path.name
    return lambda: RedisKeyValue(url, space=space)


@pytest.fixture
def store(opened):
    made = opened()
    yield made
    made.close()


def test_a_generation_is_seen_once_it_is_current(store, opened):
    store.put_many(ONE, [(b"a", b"1"), (b"b", b"2")], b"half")
    assert store.get_many({ONE.name: [b"a"]})[ONE.name] == (None, [None])
    assert store.get_from(ONE, [b"b", b"c"]) == [b"2", None]
    store.swap(ONE, b"whole")
    found = opened().get_many({ONE.name: [b"b", b"nobody", b"a"]})[ONE.name]
    assert found.pointer == (1, b"whole")
    assert found.values == [b"2", None, b"1"]
    assert store.note(ONE) == b"half"


def test_values_replace_those_with_their_keys(store):
    store.put_many(ONE, [(b"a", b"1"), (b"b", b"2")], b"1")
    store.put_many(ONE, [(b"a", b"3")], b"2")
    store.swap(ONE, b"2")
    assert store.get_many({ONE.name: [b"a", b"b"]})[ONE.name].values == [b"3", b"2"]


def test_a_new_generation_takes_the_place_of_the_other_as_a_whole(store):
    store.put_many(ONE, [(b"a", b"1"), (b"b", b"1")], b"1")
    store.swap(ONE, b"1")
    store.put_many(TWO, [(b"a", b"2")], b"2")
    assert store.get_many({ONE.name: [b"a", b"b"]})[ONE.name].values == [b"1", b"1"]
    store.swap(TWO, b"2")
    assert store.get_many({ONE.name: [b"a", b"b"]})[ONE.name].values == [b"2", None]
    assert store.generations(ONE.name) == [1, 2]
    store.drop(ONE)
    store.drop(ONE)
    assert store.generations(ONE.name) == [2]
    assert store.get_from(ONE, [b"a"]) == [None]
    assert store.get_many({ONE.name: [b"a"]})[ONE.name].values == [b"2"]


def test_dropping_the_current_generation_leaves_none(store):
    store.put_many(ONE, [(b"a", b"1")], b"1")
    store.swap(ONE, b"1")
    store.drop(ONE)
    assert store.current(ONE.name) is None
    assert store.note(ONE) is None
    assert store.get_many({ONE.name: [b"a"]})[ONE.name].values == [None]


def test_a_draft_that_is_begun_again_has_nothing_of_the_one_before(store):
    store.put_many(ONE, [(b"a", b"1")], b"1")
    assert store.note(ONE) == b"1"
    assert store.get_from(ONE, [b"a"]) == [b"1"]
    store.drop(ONE)
    store.put_many(ONE, [(b"b", b"2")], b"2")
    assert store.note(ONE) == b"2"
    assert store.get_from(ONE, [b"a", b"b"]) == [None, b"2"]
    store.swap(ONE, b"2")
    assert store.get_many({ONE.name: [b"a", b"b"]})[ONE.name].values == [None, b"2"]


def test_tables_and_odd_keys_do_not_meet(store):
    other = Table("last-0123*", 1)
    keys = [entity_key([value]) for value in (1, "1", 1.5, "a:b*?[]\\", -1, 2**70, "")]
    store.put_many(ONE, [(key, key) for key in keys], b"1")
    store.put_many(other, [(keys[0], b"another")], b"1")
    store.swap(ONE, b"1")
    store.swap(other, b"1")
    store.drop(other)
    assert store.get_many({ONE.name: keys})[ONE.name].values == keys
    assert len(set(keys)) == len(keys)


def test_many_keys_come_back_in_their_order(store):
    keys = [entity_key([number]) for number in range(5000)]
    store.put_many(ONE, [(key, key[::-1]) for key in keys], b"1")
    store.swap(ONE, b"1")
    asked = keys[::-7]
    assert store.get_many({ONE.name: asked})[ONE.name].values == [key[::-1] for key in asked]


def test_readers_in_threads_never_see_two_generations_in_one_answer(store):
    keys = [b"a", b"b", b"c"]
    seen, stop = set(), threading.Event()
    store.put_many(ONE, [(key, b"1") for key in keys], b"1")
    store.swap(ONE, b"1")

    def read():
        while not stop.is_set():
            seen.add(tuple(store.get_many({ONE.name: keys})[ONE.name].values))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for generation in range(2, 12):
        table = Table(ONE.name, generation)
        store.put_many(table, [(key, b"%d" % generation) for key in keys], b"x")
        store.swap(table, b"x")
        store.drop(Table(ONE.name, generation - 1))
    stop.set()
    for one in readers:
        one.join()
    assert all(len(set(values)) == 1 and values[0] is not None for values in seen), seen
