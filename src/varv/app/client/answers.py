"""An answer of a home: a struct that shows itself in a notebook."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Answer(Generic[T]):
    """What a verb answered.

    Its attributes are those of `value`, a frozen struct; `to_dict` gives plain values.

    Parameters
    ----------
    value
        The struct, or plain values where this process does not know the verb.
    """

    def __init__(self, value: T) -> None:
        self.value = value

    def to_dict(self) -> Any:
        """Return the answer as plain values."""
        return msgspec.to_builtins(self.value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "value":
            raise AttributeError(name)
        return getattr(self.value, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *getattr(self.value, "__struct_fields__", ())})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and self.value == other.value

    def __hash__(self) -> int:
        return hash(msgspec.json.encode(self.value, enc_hook=str))

    def __repr__(self) -> str:
        told = getattr(self.value, "answer", "")
        name = type(self.value).__name__
        return f"<{name}: {told}>" if told else f"<{name}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import answer_fragment

        return answer_fragment(self.value)
