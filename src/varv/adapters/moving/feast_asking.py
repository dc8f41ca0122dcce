"""Asks Feast for historical features: run by an interpreter that has it, with what to ask for on its input.

It needs nothing of varv.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Write the answers of each view to its file."""
    job = json.load(sys.stdin)
    pandas: Any = importlib.import_module("pandas")
    feast: Any = importlib.import_module("feast")
    store = feast.FeatureStore(repo_path=job["repository"], fs_yaml_file=Path(job["configuration"]))
    for view in job["views"]:
        answered = store.get_historical_features(
            entity_df=pandas.read_parquet(view["requests"]),
            features=view["features"],
            full_feature_names=True,
        )
        answered.to_df().to_parquet(view["answers"], index=False)


if __name__ == "__main__":
    main()
