"""A fit in a process of its own gives the package that it gives here, or one error."""

from __future__ import annotations

import os
import threading

import pytest
from tests.app.fitted_project import declared, project_file, rows_to_fit

from varv.adapters.processes import Processes
from varv.adapters.runtimes import installed_runtimes
from varv.app.fitting import FitJob, ProcessFits
from varv.kernel.codec import digest_of
from varv.kernel.errors import FailedPrecondition, Interrupted, UserCodeFailed
from varv.kernel.executor import InProcess, Limits
from varv.pipelines import code_closure
from varv.registry import open_package
from varv.training import DirectFits, FitOf
from varv.training.output_log import output_path


@pytest.fixture(scope="module")
def executor():
    made = Processes(dict(os.environ), n_threads=1, nice=0)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path):
    return project_file(tmp_path)


def fits(executor, file):
    return ProcessFits(executor, str(file), file.parent / "home", Limits(time_s=120))


def which(model, *, cancelled=None):
    return FitOf(model=model, version=7, step="fit-1", cancelled=cancelled)


def printed(file, model):
    return output_path(file.parent / "home", model, 7).read_text()


@pytest.mark.slow
def test_both_fitters_make_the_same_package(executor, file, capfd):
    given = rows_to_fit(owner=os.getpid())
    there = fits(executor, file).fit(which("late"), *declared(file, "late"), given)
    here = DirectFits(installed_runtimes()).fit(which("late"), *declared(file, "late"), given)
    assert there == here
    assert open_package(there).n_rows == 2000
    assert printed(file, "late") == "[fit-1]\nfitting 2000 rows in another process\n"
    assert capfd.readouterr().out == "fitting 2000 rows in this one\n"


def test_a_job_survives_its_way_as_bytes(file):
    train, _ = declared(file, "late")
    code = digest_of([code_closure(train.fit).digest])
    job = FitJob(str(file), "late", "fit", code, rows_to_fit(100))
    back = FitJob.decode(job.encode())
    assert back.given.rows.equals(job.given.rows)
    assert (back.place, back.model, back.function, back.code) == (str(file), "late", "fit", job.code)
    package = InProcess().run(back, limits=Limits()).value
    assert open_package(package).params["C"] == 0.5


@pytest.mark.slow
def test_of_much_output_little_is_kept(executor, file):
    found = fits(executor, file)
    found.fit(which("loud"), *declared(file, "loud"), rows_to_fit(200))
    text = found.printed("loud", 7).decode()
    assert len(text) < 257 << 10
    assert text.startswith("[fit-1]\nline 0\nline 1\n")
    assert text.endswith("line 199999\nfitting 200 rows in another process\n")
    assert "bytes are not kept]" in text or "bytes were missed]" in text


@pytest.mark.slow
def test_declared_time_ends_a_fit_that_hangs(executor, file):
    with pytest.raises(UserCodeFailed, match="function 'hangs' did not return within 12 s") as failed:
        fits(executor, file).fit(which("slow"), *declared(file, "slow"), rows_to_fit(200))
    assert failed.value.printed == ("before the loop",)
    assert any("in hangs" in line for line in failed.value.trace)
    assert printed(file, "slow") == "[fit-1]\nbefore the loop\n"


@pytest.mark.slow
def test_declared_memory_ends_a_fit_that_grows(executor, file):
    with pytest.raises(UserCodeFailed, match=r"used more than 381\.5 MiB of memory|raised MemoryError"):
        fits(executor, file).fit(which("large"), *declared(file, "large"), rows_to_fit(200))


def test_a_fit_that_nobody_wants_any_more_is_interrupted(executor, file):
    cancelled = threading.Event()
    threading.Timer(1.0, cancelled.set).start()
    with pytest.raises(Interrupted, match="was cancelled"):
        fits(executor, file).fit(
            which("patient", cancelled=cancelled), *declared(file, "patient"), rows_to_fit(200)
        )


def test_code_that_changed_meanwhile_is_not_recorded_as_what_it_was(executor, file):
    train, task = declared(file, "late")
    code_closure(train.fit)  # read when the server starts, since it identifies the declaration
    file.write_text(file.read_text().replace('C=params["C"]', "C=2.0"))
    with pytest.raises(FailedPrecondition, match="function 'fit' has changed since varv up loaded it"):
        fits(executor, file).fit(which("late"), train, task, rows_to_fit(200))
