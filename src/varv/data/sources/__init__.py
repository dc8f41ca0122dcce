"""Where rows come from: dataframes, files, databases, the web, object stores, landing folders.

Values come in the few types that are kept: numbers, Booleans, texts, and times as microseconds in UTC;
anything else is refused by name, never guessed.
"""

from varv.data.sources.databases import Sql
from varv.data.sources.dbt import Dbt
from varv.data.sources.debezium import Debezium
from varv.data.sources.files import Csv, JsonLines, Parquet
from varv.data.sources.frames import Frame
from varv.data.sources.kept import KEPT, Types, fitted, in_kept_types, kept_type
from varv.data.sources.landing import Landing
from varv.data.sources.objects import Objects
from varv.data.sources.rest import Rest
from varv.data.sources.steps import BATCH_ROWS, Asked, Derived, Keyed, Source, Step, Upstream, with_last
from varv.data.sources.web import Http

__all__ = [
    "BATCH_ROWS",
    "KEPT",
    "Asked",
    "Csv",
    "Dbt",
    "Debezium",
    "Derived",
    "Frame",
    "Http",
    "JsonLines",
    "Keyed",
    "Landing",
    "Objects",
    "Parquet",
    "Rest",
    "Source",
    "Sql",
    "Step",
    "Types",
    "Upstream",
    "fitted",
    "in_kept_types",
    "kept_type",
    "with_last",
]
