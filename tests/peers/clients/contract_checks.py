"""Run by a peer's interpreter: which rows of frames break a document of its own, one list for each frame.

    python contract_checks.py pandera|gx DOCUMENT FRAMES

FRAMES is JSON: of each frame its columns as lists. A row is named by its number; a rule that only the frame
breaks gives -1.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pandas as pd

warnings.simplefilter("ignore")
TIMES = ("at",)


def frames_of(path):
    for columns in json.loads(Path(path).read_text()):
        frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
        for name in frame.columns:
            if name in TIMES:
                frame[name] = pd.to_datetime(frame[name], utc=True)
            elif name in ("x", "y") or name in ("id", "n"):
                frame[name] = frame[name].astype("float64")
        yield frame


def by_pandera(document, frames):
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

    schema = pa.DataFrameSchema.from_yaml(document)
    for frame in frames:
        try:
            schema.validate(frame, lazy=True)
            yield []
        except SchemaErrors as error:
            rows = error.failure_cases["index"]
            yield sorted({-1 if pd.isna(row) else int(row) for row in rows})


def by_gx(document, frames):
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite(**document)
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all")
    for frame in frames:
        found = batch.get_batch(batch_parameters={"dataframe": frame}).validate(
            suite, result_format="COMPLETE"
        )
        rows = set()
        for one in found.results:
            if one.exception_info and one.exception_info.get("raised_exception"):
                raise RuntimeError(f"{one.expectation_config.type}: {str(one.exception_info)[-700:]}")
            if not one.success:
                rows |= set(one.result.get("unexpected_index_list") or [-1])
        yield sorted(rows)


if __name__ == "__main__":
    peer, document, frames = sys.argv[1:]
    if peer == "pandera":
        found = list(by_pandera(Path(document).read_text(), frames_of(frames)))
    else:
        found = list(by_gx(json.loads(Path(document).read_text()), frames_of(frames)))
    print(json.dumps(found))
