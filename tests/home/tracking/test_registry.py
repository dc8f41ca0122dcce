"""The registry as clients write to it, beside loops that register versions under the same names."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from tests.home.tracking.registry_home import RegistryHome

from varv.app.compose import open_engine, open_views
from varv.kernel.clock import SystemClock
from varv.kernel.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound
from varv.kernel.recorder import Write
from varv.loop.numbers import LoopNumbers
from varv.registry import Models, Origin, RegistryView, number_after
from varv.registry.model import STAGES

LONG = "läuft " * 100


def test_versions_that_clients_log_at_once_have_different_numbers(home):
    home.register("m")
    run, found = home.begin(), []
    threads = [threading.Thread(target=lambda: found.append(home.version("m", run=run))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 9))


def test_a_version_of_a_loop_is_found_like_one_that_was_logged(home):
    home.train("late", 1)
    home.register("other")
    home.version("other")
    assert sorted(home.numbers()) == [("late", 1), ("other", 1)]
    assert home.model("late").aliases == {"champion": 1}
    assert home.found("late", 1).source == f"varv:/{'a' * 64}"


def test_a_loop_gives_the_numbers_under_its_name(home):
    home.train("late", 1)
    home.declare("late", first_version=2)
    assert home.version("late") == 2
    assert home.retrain("late") == 3
    assert home.version("late") == 4


@pytest.mark.parametrize("first_version", [1, 3])
def test_a_loop_that_begins_while_a_version_is_logged_gives_its_number(home, first_version):
    class Late(LoopNumbers):
        """Loops of which one begins right after the registry found none."""

        def number(self, model):
            found = super().number(model)
            if found is None:
                home.declare(model, first_version)
            return found

    home.register("late")
    desk = home.desk
    models = Models(
        desk.recorder, desk.runs.blobs, Late(home.ledger, open_engine(home.ledger, SystemClock()))
    )
    origin = Origin(source="a", storage="")
    made = home.do(Write(lambda writing: models.log_version(writing, "late", origin)))
    assert made.number == first_version
    assert home.retrain("late") == first_version + 1


def test_a_loop_begins_by_no_number_that_was_given_meanwhile(home):
    home.register("late")
    views = open_views(home.ledger, home.folder)
    number, seen = number_after(views, home.ledger, "late")
    home.version("late")
    with pytest.raises(Conflict, match="model/late"):
        home.declare("late", number, guards=[seen])
    number, seen = number_after(views, home.ledger, "late")
    home.declare("late", number, guards=[seen])
    assert home.retrain("late") == 2


def test_a_loop_does_not_begin_by_what_held_before_a_rename_to_its_name(home):
    home.register("early")
    home.version("early")
    views = open_views(home.ledger, home.folder)
    number, seen = number_after(views, home.ledger, "late")
    home.do(home.desk.models.rename("early", "late"))
    with pytest.raises(Conflict, match="model/late"):
        home.declare("late", number, guards=[seen])
    number, seen = number_after(views, home.ledger, "late")
    home.declare("late", number, guards=[seen])
    assert (number, home.numbers()) == (2, [("late", 1)])
    assert home.version("late") == 2


def test_a_loop_that_begins_goes_on_after_logged_numbers(home):
    home.register("m")
    home.version("m")
    home.version("m")
    home.do(home.desk.models.rename("m", "late"))
    view = RegistryView()
    for entry in home.ledger.read():
        view.apply(entry, entry.event)
    assert view.next_version("late") == 3
    assert view.models == {}
    home.declare("late", first_version=view.next_version("late"))
    assert home.version("late") == 3


def test_aliases_by_which_a_loop_serves_are_moved_by_it_alone(home):
    home.train("late", 1)
    home.declare("late", first_version=2)
    home.version("late")
    with pytest.raises(FailedPrecondition, match="varv rollback"):
        home.do(home.desk.models.set_alias("late", "champion", 2))
    with pytest.raises(FailedPrecondition, match="moved by its loop"):
        home.do(home.desk.models.drop_alias("late", "champion"))
    home.do(home.desk.models.set_alias("late", "reviewed", 2))
    assert home.model("late").aliases == {"champion": 1, "reviewed": 2}


def test_a_name_without_a_loop_may_have_a_champion_of_its_own(home):
    home.register("m")
    home.version("m")
    home.do(home.desk.models.set_alias("m", "champion", 1))
    assert home.model("m").aliases == {"champion": 1}


def test_what_a_loop_registered_is_neither_renamed_nor_deleted(home):
    home.train("late", 1)
    head = home.ledger.head()
    models = home.desk.models
    for write in (models.delete("late"), models.rename("late", "x"), models.delete_version("late", 1)):
        with pytest.raises(FailedPrecondition):
            home.do(write)
    assert home.ledger.head() == head
    home.declare("declared")
    home.register("m")
    with pytest.raises(AlreadyExists):
        home.do(models.rename("m", "declared"))


def test_a_refusal_leaves_the_ledger_as_it_was(home):
    home.register("m")
    head = home.ledger.head()
    models = home.desk.models
    for write in (
        models.create("m"),
        models.create("a/b"),
        models.create("x", tags={"../up": "v"}),
        models.set_alias("m", "latest", 1),
        models.set_alias("m", "v7", 1),
        models.set_alias("m", "x", 1),
        models.move_stage("m", 1, "Production"),
    ):
        with pytest.raises((AlreadyExists, InvalidInput, NotFound)):
            home.do(write)
    assert home.ledger.head() == head


def test_a_long_text_is_in_the_tables_and_not_in_an_entry(home):
    home.register("m", tags={"note": LONG}, description=LONG)
    assert home.model("m").tags == {"note": LONG}
    assert home.model("m").description == LONG
    assert all(len(entry.data) < 1000 for entry in home.ledger.read())


NAMES = st.sampled_from(["m", "n", "ö p"])
WORDS = st.sampled_from(["a", "b"])


class Registry(RuleBasedStateMachine):
    """A registry against a dictionary, and against itself once its tables are folded anew."""

    names = Bundle("names")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.home = RegistryHome(self.folder)
        self.run_id = self.home.begin()
        self.models: dict[str, dict] = {}
        self.last: dict[str, int] = {}

    def teardown(self):
        before = self.home.rows()
        after = self.home.refolded().rows()
        self.home.close()
        shutil.rmtree(self.folder)
        assert after == before

    @rule(target=names, name=NAMES)
    def create(self, name):
        if name in self.models:
            with pytest.raises(AlreadyExists):
                self.home.register(name)
            return multiple()
        self.home.register(name, tags={"of": name})
        self.models[name], self.last[name] = {"versions": {}, "aliases": {}}, 0
        return name

    @rule(name=consumes(names))
    def delete(self, name):
        self.home.do(self.home.desk.models.delete(name))
        del self.models[name], self.last[name]

    @rule(target=names, name=consumes(names), to=NAMES)
    def rename(self, name, to):
        if to in self.models:
            with pytest.raises(AlreadyExists):
                self.home.do(self.home.desk.models.rename(name, to))
            return name
        self.home.do(self.home.desk.models.rename(name, to))
        self.models[to], self.last[to] = self.models.pop(name), self.last.pop(name)
        return to

    @rule(name=names)
    def log(self, name):
        number = self.home.version(name, run=self.run_id)
        self.last[name] += 1
        assert number == self.last[name]
        self.models[name]["versions"][number] = "None"

    @rule(name=names, at=st.integers(1, 4))
    def drop(self, name, at):
        known = self.models[name]
        if at not in known["versions"]:
            with pytest.raises(NotFound):
                self.home.do(self.home.desk.models.delete_version(name, at))
            return
        self.home.do(self.home.desk.models.delete_version(name, at))
        del known["versions"][at]
        known["aliases"] = {alias: one for alias, one in known["aliases"].items() if one != at}

    @rule(name=names, alias=WORDS, at=st.integers(1, 4))
    def point(self, name, alias, at):
        if at not in self.models[name]["versions"]:
            return
        self.home.do(self.home.desk.models.set_alias(name, alias, at))
        self.models[name]["aliases"][alias] = at

    @rule(name=names, alias=WORDS)
    def unpoint(self, name, alias):
        self.home.do(self.home.desk.models.drop_alias(name, alias))
        self.models[name]["aliases"].pop(alias, None)

    @rule(name=names, at=st.integers(1, 4), stage=st.sampled_from(STAGES), archive=st.booleans())
    def move(self, name, at, stage, archive):
        versions = self.models[name]["versions"]
        archive = archive and stage in ("Staging", "Production")
        if at not in versions:
            return
        self.home.do(self.home.desk.models.move_stage(name, at, stage, archive_existing=archive))
        if archive:
            versions.update({one: "Archived" for one, its in versions.items() if its == stage})
        versions[at] = stage

    @rule()
    def reopen(self):
        self.home.reopened()

    @invariant()
    def is_as_the_dictionary_says(self):
        assert self.home.names() == sorted(self.models)
        found = {name: {} for name in self.models}
        for name, number in self.home.numbers():
            found[name][number] = self.home.found(name, number).stage
        assert found == {name: known["versions"] for name, known in self.models.items()}
        for name, known in self.models.items():
            model = self.home.model(name)
            assert model.aliases == known["aliases"]
            latest = {
                stage: max(n for n, its in known["versions"].items() if its == stage)
                for stage in known["versions"].values()
            }
            assert {one.stage: one.number for one in model.latest} == latest


Registry.TestCase.settings = settings(max_examples=4, stateful_step_count=15)
test_the_registry_is_a_dictionary_whose_numbers_never_return = Registry.TestCase
