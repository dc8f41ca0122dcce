"""Sources to move in from: MLflow's server, its database and its folder, and exports of other trackers.

Each is a `home.moving.Source`. Nothing of what is read is run, imported or unpickled.
"""

from varv.adapters.moving.opening import FOLDERS, open_folder, open_mlflow

__all__ = ["FOLDERS", "open_folder", "open_mlflow"]
