"""Who commits what a pull prepares, and tells whoever answers by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from varv.data.appending import Prepared
from varv.data.dataset import Dataset
from varv.data.rewriting.files import Rewritten
from varv.kernel.sagas import Fact

BY = "pull"
"""Who rewrites, for the ledger."""
T = TypeVar("T", bound="Made")


class Made(Protocol):
    """What was prepared: the facts to commit, and the batches that they make count."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """To be committed together."""
        ...

    @property
    def made(self) -> tuple[tuple[Dataset, str, Prepared], ...]:
        """The batches."""
        ...


class Acts(Protocol):
    """Who commits what a pull prepares, and tells whoever answers."""

    def settle(self, decide: Callable[[], T]) -> T:
        """Commit what a function prepares, while nobody else writes; return it."""
        ...

    def rewrite(self, name: str, act: Callable[[], Rewritten]) -> Rewritten:
        """Have a function replace rows of a dataset."""
        ...

    def tell(self, facts: tuple[Fact, ...]) -> None:
        """Commit facts."""
        ...
