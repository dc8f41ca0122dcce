"""Pipelines: graphs of typed steps whose results are found by their content.

`steps` and `declared` are what authors write (`step`, `Pipeline`); `graph` and `cache` say what a step's key
is and keep results; `running` runs a graph, `job` a step in another process; `recorded` puts a run on record
among the runs. Trainings of the loop are graphs too. Nothing here starts a process: `app.pipelines` does.
"""

from varv.pipelines.cache import StepCache, cache_flaws
from varv.pipelines.closure import Closure, code_closure
from varv.pipelines.declared import Pipeline, Steps
from varv.pipelines.graph import Graph, Input, Outlook, PipelineResult, PipelineStep, StepResult, Stop, Took
from varv.pipelines.reporting import PostOffice, Report
from varv.pipelines.running import Made, Runner, Watch, run_graph, run_here
from varv.pipelines.steps import Node, Step, step

__all__ = [
    "Closure",
    "Graph",
    "Input",
    "Made",
    "Node",
    "Outlook",
    "Pipeline",
    "PipelineResult",
    "PipelineStep",
    "PostOffice",
    "Report",
    "Runner",
    "Step",
    "StepCache",
    "StepResult",
    "Steps",
    "Stop",
    "Took",
    "Watch",
    "cache_flaws",
    "code_closure",
    "run_graph",
    "run_here",
    "step",
]
