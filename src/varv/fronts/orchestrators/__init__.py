"""Pipelines as files for orchestrators of others: plain functions from `Outer` to text. Nothing here reads a
file; `varv export pipeline` does.
"""

from varv.fronts.orchestrators.airflow import airflow
from varv.fronts.orchestrators.dagster import dagster
from varv.fronts.orchestrators.kubeflow import kubeflow
from varv.fronts.orchestrators.model import Outer, OuterStep, outer
from varv.fronts.orchestrators.prefect import prefect

__all__ = ["Outer", "OuterStep", "airflow", "dagster", "kubeflow", "outer", "prefect"]
