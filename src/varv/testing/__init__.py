"""Contracts for parts that others write, as suites that their tests can run.

`tasks` holds what every task must keep. Nothing in varv imports this; it needs no test framework, and a
broken contract is an `AssertionError` that says what does not hold.
"""

from varv.testing.tasks import TASK_CHECKS, TaskSample, check_task

__all__ = ["TASK_CHECKS", "TaskSample", "check_task"]
