"""Contracts for parts that others write, as suites that their tests can run.

`tasks` holds what every task must keep; a broken contract is an `AssertionError` that says what does not
hold. `executors` holds what every executor must do, as a class of tests that a subclass gives a fixture; it
needs pytest. Nothing in varv imports this.
"""

from varv.testing.tasks import TASK_CHECKS, TaskSample, check_task

__all__ = ["TASK_CHECKS", "TaskSample", "check_task"]
