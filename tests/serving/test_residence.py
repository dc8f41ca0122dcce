"""Models within a budget: which was not asked for longest goes, and comes back when it is asked for."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.said import fixed
from tests.serving.samples import table

import varv
from varv.kernel.ids import ModelName, Version
from varv.registry import open_package, packed
from varv.registry.ports import waits
from varv.serving.fleet import DataPlanes
from varv.serving.residence import Held, Residence


class Sized:
    """A model that takes so much while it is there."""

    def __init__(self, heap, name, size):
        self._heap, self._name = heap, name
        heap.there[name] = size
        heap.n_loads[name] = heap.n_loads.get(name, 0) + 1

    def predict(self, rows):
        return rows

    def __del__(self):
        self._heap.there.pop(self._name, None)


class Heap:
    """What a process holds."""

    def __init__(self):
        self.there, self.n_loads = {}, {}

    def __call__(self):
        return 1000 + sum(self.there.values())


class Process:
    """A process with a budget, and models of some sizes."""

    def __init__(self, most_bytes, sizes):
        self.heap = Heap()
        self.residence = Residence(most_bytes, self.heap)
        self.models = {name: self.taken_in(name, size) for name, size in sizes.items()}

    def taken_in(self, name, size):
        def load():
            return Sized(self.heap, name, size)

        return self.residence.taken_in(name, load, load, 1)

    def ask(self, name):
        self.models[name].predict(np.zeros(1))


def test_the_one_that_was_not_asked_for_longest_goes():
    process = Process(250, {"a": 100, "b": 100})
    process.ask("a")
    process.models["c"] = process.taken_in("c", 100)
    assert set(process.heap.there) == {"a", "c"}
    assert waits(process.models["b"]), "it has to be loaded first"
    assert not waits(process.models["a"])
    process.ask("b")
    assert set(process.heap.there) == {"b", "c"}
    assert process.heap.n_loads == {"a": 1, "b": 2, "c": 1}


def test_one_that_is_larger_than_the_budget_answers_alone():
    process = Process(50, {"a": 100, "b": 100})
    for name in ("a", "b", "a"):
        process.ask(name)
        assert set(process.heap.there) == {name}


def test_without_a_budget_models_are_as_they_are():
    process = Process(None, {"a": 100})
    assert isinstance(process.models["a"], Sized)


def test_what_is_left_is_forgotten():
    process = Process(250, {"a": 100, "b": 100})
    process.models.pop("a").leave()
    assert set(process.heap.there) == {"b"}
    process.models["c"] = process.taken_in("c", 100)
    assert set(process.heap.there) == {"b", "c"}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(10, 120), min_size=1),
    st.integers(50, 300),
    st.lists(st.sampled_from("abcdef"), max_size=30),
)
def test_the_budget_holds_and_every_request_is_answered(sizes, most, asked):
    process = Process(most, sizes)
    for name in [one for one in asked if one in sizes]:
        process.ask(name)
        assert name in process.heap.there
        assert sum(process.heap.there.values()) <= max(most, sizes[name])


def test_threads_that_ask_together_load_it_once():
    process = Process(150, {"a": 100, "b": 100})
    assert "a" not in process.heap.there
    threads = [threading.Thread(target=process.ask, args=("a",)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert process.heap.n_loads["a"] == 2


class Row:
    def __init__(self, row):
        self._row = row

    def predict(self, rows):
        return np.tile(np.array(self._row, np.float32), (len(rows), 1))


class Rows:
    """A runtime whose models take ten megabytes."""

    def load(self, package, *, threads=1):
        return Row(msgspec.json.decode(package.file("row")))


class Blobs(dict):
    def get(self, name):
        return self[name]


def test_versions_of_models_come_and_go_behind_their_planes():
    task = varv.task.binary()
    packages = {f"{number}": packed(fixed(task, (number / 8,))) for number in (1, 2, 3)}
    assert open_package(packages["1"]).probe
    planes = DataPlanes(Rows(), Blobs(packages), most_bytes=1)
    for number in (1, 2, 3):
        name = ModelName(f"m{number}")
        planes.warm(name, Version(1), f"{number}")
        planes.apply(name, table(1))
    there = [planes.plane(ModelName(f"m{number}")).in_force for number in (1, 2, 3)]
    assert [one.waits for one in there] == [True, True, False]
    rows = np.zeros((1, 1), np.float32)
    for number, one in enumerate(there, 1):
        assert one.score(["k"], lambda _: rows).champion[0, 0] == pytest.approx(number / 8)
    assert [one.waits for one in there] == [True, True, False]
    assert all(isinstance(one.versions[1].model, Held) for one in there)
