"""A model that was trained elsewhere is judged on what it was not fitted on, and registered as what it is."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from msgspec.structs import replace
from tests.loop.foreign import foreign_file
from tests.loop.training_home import ASK, CUTOFF
from tests.training.samples import RUNTIMES

from varv.kernel.clock import DAY, Instant, instant
from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput, NotFound
from varv.loop.fits import ancestry
from varv.loop.model import Offer
from varv.loop.offers import content_bytes, content_of
from varv.monitoring.reference import Reference
from varv.registry import Imported
from varv.training import incremental, read_foreign

UNTIL = instant("2024-03-20")


def offered(here, path, **changes):
    """Return the command that takes a file in."""
    content = here.home.blobs.put(content_bytes(read_foreign(path)))
    source = Imported(file=path.name, content=content, by="ana", reason="a notebook")
    return replace(ASK, offer=Offer(source=source, fitted_until=UNTIL, **changes))


def test_it_is_registered_as_trained_elsewhere_and_fits_nothing(home, tmp_path):
    here, path = home(), foreign_file(tmp_path)
    made = here.train(offered(here, path))
    assert here.n_fits == 0
    assert (made.imported.file, made.imported.by, made.n_rows, made.work) == ("elsewhere.txt", "ana", 0, 0)
    assert (made.trained_from, made.fitted_until) == (UNTIL, UNTIL)
    assert made.signature == ("load", "heat")
    assert not made.is_refit
    assert made.line() == "late-parcel v1, trained elsewhere: elsewhere.txt, from ana: a notebook"
    assert made.metrics["auc"] > 0.8
    [fit] = made.judged
    assert fit.since >= UNTIL
    assert (fit.package, fit.n_held_out) == (made.package, made.n_validation)


def test_its_package_answers_as_the_file_does(home, tmp_path):
    here, path = home(), foreign_file(tmp_path)
    package = here.package(here.train(offered(here, path)).package)
    rows = here.candidates.rows(here.parts, ASK).frame
    expected = lightgbm.Booster(model_file=path).predict(rows.select("load", "heat").to_numpy())
    found = RUNTIMES.load(package).predict(package.signature.feed(rows))[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_is_judged_on_no_row_that_it_was_fitted_on_however_long_the_stretch(home, tmp_path):
    here, path = home(validate=20 * DAY), foreign_file(tmp_path)
    [fit] = here.train(offered(here, path)).judged
    assert fit.since == UNTIL
    held_out = here.candidates.held_out(here.parts, here.train(offered(here, path)), None)
    assert held_out.at.min() >= UNTIL


def test_where_too_few_rows_are_left_to_judge_it_is_refused(home, tmp_path):
    here, path = home(), foreign_file(tmp_path)
    ask = offered(here, path)
    late = replace(ask, offer=replace(ask.offer, fitted_until=Instant(CUTOFF - DAY // 2)))
    with pytest.raises(FailedPrecondition, match=r"file 'elsewhere.txt' has too few rows to be judged on"):
        here.train(late)


def test_a_column_that_is_not_declared_is_named(home, tmp_path):
    here, path = home(), foreign_file(tmp_path, names=("load", "colour"))
    with pytest.raises(InvalidInput, match="colour"):
        here.train(offered(here, path))


def test_a_later_training_goes_on_from_none_that_was_trained_elsewhere(home, tmp_path):
    here = home(strategy=incremental())
    made = here.train(offered(here, foreign_file(tmp_path)))
    train = here.parts.loop.train
    assert ancestry(train, made, ("load", "heat")) is None
    assert ancestry(train, replace(made, imported=None), ("load", "heat")) is not None


def test_what_was_never_brought_or_is_something_else_is_said(home):
    here = home()
    with pytest.raises(NotFound):
        content_of(here.home.blobs, "0" * 64, "m.onnx")
    with pytest.raises(Corrupt, match=r"file 'm.onnx' is not held as varv register reads it"):
        content_of(here.home.blobs, here.home.blobs.put(b"something else"), "m.onnx")


def test_rows_of_before_and_after_are_what_its_monitors_compare_with(home, tmp_path):
    here = home()
    made = here.train(offered(here, foreign_file(tmp_path)))
    reference = Reference.from_bytes(here.home.blobs.get(made.reference))
    assert {one.name for one in reference.features} == set(here.parts.loop.features.names)
    assert reference.performance.n == made.n_validation
