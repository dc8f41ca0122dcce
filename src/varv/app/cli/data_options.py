"""The options of `varv data`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
DATA = """Datasets and their versions. NAME is a dataset; NAME@12, NAME@TAG and NAME@2013-05-01T00:00Z name
one of its versions: by number, by tag, or the last one that had come by then. Nothing is changed in place:
whatever is written is the next version, and those before read as they did until they are vacuumed.
"""
ERASE = """Let all rows of a dataset go whose column holds a value, and what follows from them: in every
version, in quarantine, in training sets, among predictions and labels, in the online store. The keys of what
was encrypted are destroyed. The home is searched afterwards; the ledger proves it without saying who it was.
A server that runs does it while it answers. A SUBJECT of - is read from standard input, so that no shell
remembers it.
"""
_KEEP = "what to keep though nothing names it: 90d, or a number of versions (what the dataset declares)"


def add_data(act: Act) -> None:
    """Add the acts of `varv data`."""
    act("ls", "list the datasets")
    _add_reading(act)
    _add_judging(act)
    _add_pulling(act)
    _add_writing(act)
    _add_tiers(act)
    _add_publishing(act)
    _add_training_sets(act)
    _add_privacy(act)


def _add_reading(act: Act) -> None:
    shown = act("show", "show a version: rows, columns, tags, and what names others")
    shown.add_argument("--versions", type=int, default=10, metavar="N", help="list so many (10)")
    differs = act("diff", "compare two versions: columns, rows by key, and profiles")
    differs.add_argument("before", help="NAME@VERSION")
    differs.add_argument("after", nargs="?", default="", help="NAME@VERSION (the last)")
    differs.add_argument("--rows", type=int, default=0, metavar="N", help="show so many rows that differ")
    differs.add_argument("--profile", action="store_true", help="say what moved in the columns' profiles")
    read = act("read", "write the rows of a version to a file, or show the first")
    for one in (shown, read):
        one.add_argument("what", help="NAME or NAME@VERSION")
    read.add_argument("--to", default="", metavar="FILE", help="a .parquet, .csv or .jsonl file")
    read.add_argument("--known-at", default="", metavar="TIME", help="only what was known by then")
    read.add_argument("--since", default="", metavar="TIME", help="only rows of this event time and later")
    read.add_argument("--until", default="", metavar="TIME", help="only rows of an event time before this")
    read.add_argument("--remaining", action="store_true", help="of a version with erased rows, the others")
    read.add_argument("--limit", type=int, default=20, metavar="N", help="show so many rows (20)")
    touched = act("impact", "show which features, models, versions, rollouts and runs a column touches")
    touched.add_argument("what", help="NAME.COLUMN, or NAME for all of a dataset")


def _add_judging(act: Act) -> None:
    profiled = act("profile", "profile a version: counts, quantiles, frequent values, and what moved")
    profiled.add_argument("what", help="NAME or NAME@VERSION, or NAME/PART for what became known later")
    profiled.add_argument("--against", default="", metavar="VERSION", help="say what moved since this one")
    profiled.add_argument("--window", default="", metavar="FROM/TO", help="only rows of [FROM, TO)")
    profiled.add_argument(
        "--against-window", default="", metavar="FROM/TO", help="say what moved since this time"
    )
    profiled.add_argument("--outcome", default="", metavar="COLUMN", help="say what tells about a column")
    profiled.add_argument(
        "--model", action="store_true", help="NAME is a model: what its version was trained on (the champion)"
    )
    profiled.add_argument("--html", default="", metavar="FILE", help="write one page that stands alone")
    watched = act("watch", "judge the rows by the dataset's own past, and put on record what is unlike it")
    watched.add_argument("what", help="NAME, or NAME/PART for what became known later")
    watched.add_argument("--every", default="1d", help="how long a window is, an hour at least (1d)")
    watched.add_argument(
        "--false-alarm-every", default="365d", metavar="TIME", help="mean time between false alarms (365d)"
    )


def _add_writing(act: Act) -> None:
    tagged = act("tag", "give a version a name, or give one up")
    tagged.add_argument("what", help="NAME or NAME@VERSION")
    tagged.add_argument("tag", help="begins with a letter: lower-case letters, digits and . _ -")
    tagged.add_argument("--delete", action="store_true", help="no version has this name from now on")
    overwritten = act("overwrite", "put the rows of a file in the place of all that a part holds")
    merged = act("merge", "put the rows of a file in the place of those with their keys, and add new ones")
    for one in (overwritten, merged):
        one.add_argument("what", help="NAME, or NAME/PART for what became known later")
        one.add_argument("file", help="a .parquet, .csv or .jsonl file")
        one.add_argument("--seen", type=int, metavar="VERSION", help="refuse if the last version is another")
    vacuumed = act("vacuum", "remove the files of versions that nothing names and that are not kept")
    vacuumed.add_argument("what", help="NAME")
    vacuumed.add_argument("--keep", default="", help=_KEEP)
    vacuumed.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    for one in (tagged, overwritten, merged, vacuumed):
        one.add_argument("--by", default="operator", help="who decides; kept in the ledger")
    for one in (tagged, overwritten, merged):
        one.add_argument("--why", default="", help="why; kept in the ledger")


def _add_training_sets(act: Act) -> None:
    made = act("training-set", "make requests with what was known at each of them a dataset, with its recipe")
    made.add_argument(
        "what", metavar="REQUESTS", help="NAME, NAME@VERSION, or a .parquet, .csv or .jsonl file"
    )
    made.add_argument(
        "--features",
        action="append",
        required=True,
        metavar="NAMES",
        help="view__feature, a view, a derived feature or a column of the requests; with commas between them",
    )
    made.add_argument("--as", dest="name", required=True, metavar="NAME", help="the dataset that it becomes")
    made.add_argument("--at", default="", metavar="COLUMN", help="when each request is made (its event time)")
    made.add_argument(
        "--mode",
        default="known",
        choices=("known", "event"),
        help="from when a row counts: since it is known, or since its event, which may leak (known)",
    )
    made.add_argument(
        "--version",
        action="append",
        default=[],
        metavar="NAME@N",
        help="read a dataset as of a version (the last)",
    )


def _add_pulling(act: Act) -> None:
    pulled = act("pull", "bring in what sources have beyond the last pull")
    pulled.add_argument("what", nargs="?", default="", help="NAME (all that say how often they are pulled)")
    pulled.add_argument(
        "--project",
        dest="file",
        default="",
        metavar="FILE",
        help="the project, where no server runs: FILE.py, or a folder of files (project in varv.toml)",
    )


def _add_privacy(act: Act) -> None:
    found = act("pii", "look for personal data that nobody declared, and propose what to do")
    found.add_argument("what", help="NAME or NAME@VERSION")
    hidden = act("anonymity", "measure how well rows hide behind their quasi-identifiers")
    hidden.add_argument("what", help="NAME or NAME@VERSION")
    hidden.add_argument("columns", nargs="+", metavar="COLUMN", help="a quasi-identifier")
    hidden.add_argument("--outcome", default="", metavar="COLUMN", help="what nobody should learn of a row")
    hidden.add_argument("-k", type=int, default=5, help="how many rows are a crowd (5)")
    read = act("reveal", "read encrypted values again, which the ledger keeps on record with the reason")
    read.add_argument("what", help="NAME or NAME@VERSION")
    read.add_argument("columns", nargs="*", metavar="COLUMN", help="an encrypted column (all)")
    read.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="of which rows")
    read.add_argument("--limit", type=int, default=100, help="of so many rows at most (100)")
    read.add_argument("--by", default="operator", help="who reads; kept in the ledger")
    read.add_argument("--why", required=True, help="why; kept in the ledger, so it must not name anybody")
    rotated = act("rotate-key", "let another key make the pseudonyms of a purpose from now on")
    rotated.add_argument("purpose", nargs="?", default="pseudonyms", help="its name (pseudonyms)")


def _add_publishing(act: Act) -> None:
    published = act("publish", "let others read a version as Delta tables, one for each part")
    published.add_argument("what", help="NAME or NAME@VERSION")
    published.add_argument(
        "--to", default="", metavar="PLACE", help="write whole tables to a folder or s3://BUCKET/PATH instead"
    )
    viewed = act("sql", "print a view that joins the published parts of a dataset, for engines of others")
    viewed.add_argument("what", help="NAME, for what is published last, or NAME@VERSION")
    viewed.add_argument("--dialect", default="duckdb", choices=("duckdb", "spark"), help="(duckdb)")
    viewed.add_argument("--place", default="", help="where publish --to wrote them (in the home)")


def add_erase(command: argparse.ArgumentParser) -> None:
    """Add the options of `varv erase`."""
    command.add_argument("subject", nargs="?", default="", help="the value that names somebody, or -")
    command.add_argument("--dataset", default="", metavar="NAME", help="whose rows")
    command.add_argument("--key", default="", metavar="COLUMN", help="the column that holds the value")
    command.add_argument("--go-on", action="store_true", help="carry on with erasures that are not proven")
    command.add_argument("--list", action="store_true", help="list the erasures of the home, and do nothing")
    command.add_argument("--by", default="operator", help="who decides; kept in the ledger")
    command.add_argument("--why", default="", help="why; kept in the ledger, so it must not name anybody")


def _add_tiers(act: Act) -> None:
    archived = act("archive", "move files of old rows into the archive, as far as nothing looks at them")
    archived.add_argument("what", help="NAME")
    archived.add_argument("--before", default="", metavar="TIME", help="those all from before this time")
    archived.add_argument("--older", default="", metavar="AGE", help="those all older, 400d (as declared)")
    archived.add_argument("--dry-run", action="store_true", help="say what would go, and move nothing")
    restored = act("restore", "bring archived files back, so that their rows can be read")
    restored.add_argument("what", help="NAME")
    restored.add_argument("--since", default="", metavar="TIME", help="those with rows of then and later")
    restored.add_argument("--until", default="", metavar="TIME", help="those with rows of before then")
    restored.add_argument(
        "--stays", default="7d", metavar="SPAN", help="how long a server does not archive them again (7d)"
    )
    restored.add_argument("--why", default="", help="why; kept in the ledger")
    for one in (archived, restored):
        one.add_argument("--by", default="operator", help="who decides; kept in the ledger")
