"""Which files of a model of transformers a package holds, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

FOLDER = "model"
ABOUT = "transformers.json"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
NAMES = (*NEEDED, "special_tokens_map.json", "tokenizer_config.json")
"""All of them data."""


class TransformersAbout(msgspec.Struct, frozen=True):
    """How its numbers become predictions."""

    order: tuple[int, ...] = ()
    """Of each class of the task, where it is among the model's labels; none without several classes."""


def names_code(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration names classes in files beside it."""
    return "auto_map" in config or "custom_pipelines" in config
