"""The front that speaks MLflow's REST API, so that an unmodified client takes varv for its tracking server.

`app` finds what answers a request, refuses who may not ask, and gives errors MLflow's shape; each area of the
API has a module of its own, which declares its `routes`. What a client may rely on is MLflow's REST
documentation and the behaviour of its server 3.17 and 3.18; where that is silently wrong, this one says so
instead.
"""

from varv.fronts.mlflow.app import MlflowApi

__all__ = ["MlflowApi"]
