"""What tests of several rooms share, built once in each worker."""

from __future__ import annotations

import gc
import shutil

import pytest
from hypothesis import settings
from tests.costs import function_of, left_out

# How long a case takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep what the tests are made of out of the collector's sight: it takes half a second to walk."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what is written down as costly."""
    names = left_out()
    for item in items:
        if function_of(item) in names:
            item.add_marker("costly")


@pytest.fixture(scope="session")
def lived(tmp_path_factory):
    """Return a function like `living`, whose home has lived through its history already.

    A live model that is opened again takes a fifth of the time of one that begins.
    """
    from tests.home.live_home import LiveHome  # rooms that do not ask for it need not wait for its imports

    origin = tmp_path_factory.mktemp("lived") / "home"
    LiveHome(origin).close()

    def opened(home, **options):
        shutil.copytree(origin, home, ignore=shutil.ignore_patterns("capture"), dirs_exist_ok=True)
        return LiveHome(home, **options)

    return opened


@pytest.fixture(scope="session")
def served_project(tmp_path_factory):
    """Return a function that puts a project with its home into a folder, and returns the project's file.

    It was served once: its history is lived through, and its first version trained.
    """
    from tests.app.serving import Server, varv

    origin = tmp_path_factory.mktemp("served")
    varv(origin / "home", "init", str(origin))
    assert Server(origin / "home", origin / "deliveries.py", training_nice=0).stop() == 0

    def copied(folder):
        shutil.copytree(origin, folder, dirs_exist_ok=True)
        return folder / "deliveries.py"

    return copied
