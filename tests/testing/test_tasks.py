"""Every task of ours keeps the contract, and a task that breaks it is found out."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tasks import samples

from varv.tasks.binary import Binary
from varv.testing import TASK_CHECKS, check_task


@pytest.fixture(scope="module", params=samples.MAKERS, ids=lambda make: make.__name__)
def case(request):
    return request.param(np.random.default_rng(20))


@pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.__name__)
def test_a_task_keeps_its_contract(case, check):
    check(case.task, case.sample)


def run_all_but_the_name(task, sample):
    for check in TASK_CHECKS:
        if check.__name__ != "check_spec":
            check(task, sample)


class Overconfident(Binary):
    def promised_error(self, predicted):
        return super().promised_error(predicted) / 2


class Forgetful(Binary):
    def read(self, column):
        return super().read(column).fill_null(0)


class Unscaled(Binary):
    def residual(self, outcome, predicted):
        return super().residual(outcome, predicted) + 0.1


class Backwards(Binary):
    def estimates(self, estimator, rows):
        return 1 - super().estimates(estimator, rows)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (Overconfident, "promised error is not how excess losses spread"),
        (Forgetful, "what is no outcome is read as one"),
        (Unscaled, "residual is .* standard errors off zero"),
        (Backwards, "not what the estimator says"),
    ],
)
def test_a_task_that_breaks_its_contract_is_found_out(broken, problem):
    case = samples.binary(np.random.default_rng(3))
    with pytest.raises(AssertionError, match=problem):
        run_all_but_the_name(broken(), case.sample)


def test_a_task_that_its_name_does_not_mean_is_found_out():
    case = samples.binary(np.random.default_rng(3))
    with pytest.raises(AssertionError, match="means Binary"):
        check_task(Overconfident(), case.sample)
