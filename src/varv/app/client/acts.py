"""Verbs as methods: a capability is a name with its acts, each a function with the verb's fields and text."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from varv.app.client.answers import Answer
from varv.app.client.sources import Source, whole_table
from varv.home.paging import Table
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import Verb


class Act:
    """One verb of a home or of a server, as a function. Positional arguments are its fields in their order.

    A table comes whole, as a polars frame, however many pages it has; any other result as an `Answer`.
    """

    def __init__(self, source: Source, verb: Verb[Any, Any]) -> None:
        self._source = source
        self._verb = verb
        self.__name__ = verb.name.rpartition(".")[2]
        self.__doc__ = _text(verb)
        self.__signature__ = _signature(verb)

    def __repr__(self) -> str:
        return f"<{self._verb.name}{self.__signature__}>"

    def __call__(self, *given: Any, **fields: Any) -> Any:
        """Run the verb.

        Raises
        ------
        InvalidInput
            If the arguments are not the verb's fields.
        VarvError
            As the verb says.
        """
        try:
            bound = self.__signature__.bind(*given, **fields).arguments
        except TypeError as error:
            hint = f"call {self._verb.name}{self.__signature__}"
            raise InvalidInput("call", self._verb.name, f"is not right: {error}", hint=hint) from None
        asked = dict(bound)
        if self._verb.result is Table:
            most = asked.pop("limit", None)
            return whole_table(self._source, self._verb.name, asked, most=most)
        return Answer(self._source.ask(self._verb.name, asked))


class Capability:
    """The acts of one capability, such as ``server.model.retrain``."""

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self._name = name

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._acts()})

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(self._acts())}>"

    def __getattr__(self, act: str) -> Act:
        if act.startswith("_") or act not in self._acts():
            known = ", ".join(self._acts()) or "none"
            raise AttributeError(f"{self._name} has no act {act!r}; its acts are {known}")
        return Act(self._source, self._source.verbs.get(f"{self._name}.{act}"))

    def _acts(self) -> list[str]:
        pairs = (verb.name.split(".") for verb in self._source.verbs)
        return [act for capability, act in pairs if capability == self._name]


def capabilities(source: Source) -> list[str]:
    """Return the names of all capabilities that a source has verbs of."""
    return sorted({verb.name.partition(".")[0] for verb in source.verbs})


def _signature(verb: Verb[Any, Any]) -> inspect.Signature:
    fields = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if field.required else _default(field),
            annotation=field.type,
        )
        for field in msgspec.structs.fields(verb.request)
        if field.name != "after"
    ]
    # Fields come in any order; a function's that have no default come first.
    return inspect.Signature(sorted(fields, key=lambda one: one.default is not inspect.Parameter.empty))


def _default(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()  # type: ignore[not-callable]


def _text(verb: Verb[Any, Any]) -> str:
    asked = " ".join((inspect.getdoc(verb.request) or "").split())
    return f"{verb.summary}\n\n{asked}\n\nNeeds the permission ``{verb.permission}``."
