"""The page on features: its blocks declare what its text names."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import polars as pl

from varv.features import FeatureSet

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "features.md").read_text()


def test_the_blocks_of_the_page_declare_the_features_that_it_names(tmp_path, monkeypatch):
    when = pl.Series([dt.datetime(2024, 5, 1, tzinfo=dt.UTC)])
    rows = {"payment_id": "a", "customer": "c", "amount": 1.5, "country": "DE", "disputed": False}
    (tmp_path / "payments").mkdir()
    frame = pl.DataFrame({name: [value] for name, value in rows.items()})
    frame.with_columns(paid_at=when, settled_at=when).write_parquet(tmp_path / "payments" / "one.parquet")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, found)
    declared = [found[name] for name in ("last", "recent", "yesterday", "visit", "abroad", "unusual")]
    features = FeatureSet(declared, found["payments"])
    named = set(re.findall(r"`(\w+\.\w+_(?:\d+d|last_1d|session_30m))`", PAGE))
    assert len(named) == 4
    assert named <= set(features.names)
