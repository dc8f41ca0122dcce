"""The behaviour of an executor, of both adapters."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from varv.adapters.processes import Processes
from varv.kernel.executor import InProcess
from varv.testing.executors import ExecutorContract


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def executor(self):
        return InProcess()


@pytest.mark.slow
class TestProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self):
        with closing(Processes(os.environ, n_at_once=2, n_spares=0, nice=0)) as executor:
            yield executor
