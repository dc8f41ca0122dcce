"""What MLflow's own server answered: a file an area, written by `tests.peers.recording` and never by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
WIDTH = 118
# What has no parts of its own, as the facts about a run, is read better in one line than in ten.
FLAT_WIDTH = 320


def read(area: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{area}.json").read_text(encoding="utf-8"))


def write(area: str, transcript: dict[str, Any]) -> None:
    (FOLDER / f"{area}.json").write_text(laid_out(transcript) + "\n", encoding="utf-8")


def laid_out(value: Any, indent: str = "", taken: int = 0) -> str:
    """Return JSON with whatever fits in a line on one, so that a change of an answer is a line of a diff."""
    line = json.dumps(value, ensure_ascii=False)
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    width = WIDTH if any(isinstance(part, dict | list) for part in parts) else FLAT_WIDTH
    if len(indent) + taken + len(line) <= width or not parts:
        return line
    deeper = indent + " "
    if isinstance(value, list):
        lines = [laid_out(part, deeper) for part in value]
        left, right = "[]"
    else:
        heads = [json.dumps(key, ensure_ascii=False) + ": " for key in value]
        lines = [head + laid_out(part, deeper, len(head)) for head, part in zip(heads, parts, strict=True)]
        left, right = "{}"
    inner = ",\n".join(deeper + line for line in lines)
    return f"{left}\n{inner}\n{indent}{right}"
