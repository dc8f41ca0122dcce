"""What names and values of runs may be: the limits that clients of MLflow's protocol know.

Sources: MLflow's REST documentation and the behaviour of its server 3.17 and 3.18.
"""

from __future__ import annotations

import math
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping

from varv.kernel.errors import InvalidInput
from varv.kernel.ids import new_secret, random_bits
from varv.runs.model import DatasetInput, RunId

MOST_METRICS, MOST_PARAMS, MOST_TAGS, MOST_TOGETHER = 1000, 100, 100, 1000
"""In one request."""
LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_EXPERIMENT = 500
LONGEST_EXPERIMENT_TAG = 20_000
LARGEST = 1.7976931348623157e308
"""What an infinite metric is stored as, with its sign, as clients expect to read it."""
_KEY = re.compile(r"[/\w.\- :]+")
_RUN = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)
_CHARACTERS = "letters, digits, underscores, dashes, dots, spaces, colons and slashes"
_ADJECTIVES = (
    "able", "agile", "amber", "bold", "brave", "breezy", "bright", "calm", "clear", "clever", "coastal",
    "crisp", "deep", "eager", "early", "fair", "fine", "fleet", "fresh", "gentle", "glad", "golden", "grand",
    "green", "keen", "kind", "lively", "loyal", "lucky", "mellow", "merry", "mild", "neat", "noble", "open",
    "patient", "plain", "polar", "proud", "quick", "quiet", "rapid", "ready", "rosy", "round", "salty",
    "sharp", "silver", "smooth", "snowy", "solid", "steady", "still", "sturdy", "sunny", "swift", "tidy",
    "true", "vivid", "warm", "wide", "wild", "windy", "wise",
)  # fmt: skip
_NOUNS = (
    "anchor", "auk", "bay", "beacon", "birch", "boat", "bow", "bream", "brig", "buoy", "canoe", "cape", "cod",
    "coot", "cove", "crane", "cutter", "dinghy", "dock", "dory", "eider", "elm", "ferry", "finch", "fjord",
    "gull", "harbour", "haven", "heron", "hull", "island", "jetty", "keel", "kelp", "ketch", "lagoon", "lark",
    "mast", "oar", "osprey", "otter", "perch", "pier", "pike", "pilot", "plover", "quay", "raft", "reef",
    "rig", "rudder", "sail", "seal", "ship", "skiff", "sloop", "sound", "stern", "strait", "swan", "tern",
    "tide", "yawl", "mole",
)  # fmt: skip


def new_run_id() -> RunId:
    """Return an id that no other run has: 32 hexadecimal digits."""
    return RunId(new_secret(16).hex())


def made_name() -> str:
    """Return a name for a run that was given none, such as ``bold-heron-417``."""
    bits = random_bits(32)
    return f"{_ADJECTIVES[bits & 63]}-{_NOUNS[(bits >> 6) & 63]}-{(bits >> 12) % 1000}"


def require_run_id(run: str) -> None:
    """Raise `InvalidInput` unless `run` may be the id of a run."""
    if not _RUN.fullmatch(run):
        raise InvalidInput(
            "run id", run[:80], "is not valid", hint="use letters, digits, _ and -, 256 at most"
        )


def require_key(kind: str, key: str) -> None:
    """Raise `InvalidInput` unless a metric, a parameter or a tag may be called `key`.

    Examples
    --------
    >>> require_key("metric", "val/loss")
    >>> require_key("metric", "../loss")  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    varv.kernel.errors.InvalidInput: metric name '../loss' is not a relative path; leave out .. and slashes at
    its ends
    """
    if not key or not _KEY.fullmatch(key):
        hint = f"use {_CHARACTERS}"
        raise InvalidInput(f"{kind} name", key[:80], "is not valid", hint=hint)
    if len(key) > LONGEST_KEY:
        raise InvalidInput(f"{kind} name", key[:80], "is too long", longest=LONGEST_KEY, length=len(key))
    if key != posixpath.normpath(key) or key == "." or key[0] == "/" or key.startswith(".."):
        problem, hint = "is not a relative path", "leave out .. and slashes at its ends"
        raise InvalidInput(f"{kind} name", key[:80], problem, hint=hint)


def require_experiment_id(experiment: str) -> None:
    """Raise `InvalidInput` unless `experiment` may be the id of an experiment."""
    if not experiment.isascii() or not experiment.isdecimal():
        raise InvalidInput("experiment id", experiment[:80], "is not a valid integer", hint="use the id")


def require_long(kind: str, value: int, *, least: int = -(2**63)) -> int:
    """Return a whole number that the file can hold.

    Raises
    ------
    InvalidInput
        If it is less than `least`, or has more than 64 bits.
    """
    if not least <= value < 2**63:
        raise InvalidInput(kind, value if abs(value) < 10**20 else "", "is out of range", least=least)
    return value


def require_short(kind: str, name: str, value: str, longest: int) -> None:
    """Raise `InvalidInput` if a value has more than `longest` characters."""
    if len(value) > longest:
        raise InvalidInput(kind, name[:80], "has too long a value", longest=longest, length=len(value))


def require_text(kind: str, text: str) -> None:
    """Raise `InvalidInput` if a name is blank or holds a control character, which would hide it in a list."""
    if not text.strip() or any(unicodedata.category(character) == "Cc" for character in text):
        raise InvalidInput(
            f"{kind} name", text[:80], "is blank or holds control characters", hint="give it a name"
        )


def require_batch(n_metrics: int, n_params: int, n_tags: int) -> None:
    """Raise `InvalidInput` if one request brings too much."""
    for kind, n, most in (
        ("metrics", n_metrics, MOST_METRICS),
        ("params", n_params, MOST_PARAMS),
        ("tags", n_tags, MOST_TAGS),
        ("entities", n_metrics + n_params + n_tags, MOST_TOGETHER),
    ):
        if n > most:
            raise InvalidInput(
                "batch", "", f"has too many {kind}", most=most, found=n, hint="send it in parts"
            )


def unique_params(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return parameters as a dictionary.

    Raises
    ------
    InvalidInput
        If two have one name.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            problem = "comes twice: Duplicate parameter keys have been submitted"
            raise InvalidInput("param", name[:80], problem, hint="send each once")
        found[name] = value
    return found


def require_unchanged(kept: Mapping[str, str], params: Mapping[str, str], run: str) -> None:
    """Raise `InvalidInput` if a parameter that has a value is given another one."""
    for name, value in params.items():
        if kept.get(name, value) != value:
            problem = "has another value already. Changing param values is not allowed"
            raise InvalidInput("param", name, problem, kept=kept[name][:80], given=value[:80], run=run)


def require_dataset(one: DatasetInput) -> None:
    """Raise `InvalidInput` if what describes a dataset is longer than it may be."""
    for kind, value, longest in (
        ("dataset name", one.name, 500),
        ("dataset digest", one.digest, 36),
        ("dataset source", one.source, 65_535),
        ("dataset schema", one.schema, 1_048_575),
        ("dataset profile", one.profile, 16_777_215),
    ):
        require_short(kind, one.name, str(value), longest)
    for tag in one.tags:
        require_short("dataset tag", tag.key, tag.key, 255)
        require_short("dataset tag", tag.key, tag.value, 500)


def storable(value: float) -> float:
    """Return a metric's value as it is stored: an infinite one as the largest double of its sign."""
    return math.copysign(LARGEST, value) if math.isinf(value) else value
