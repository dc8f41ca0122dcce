"""What batches of a part are checked by: what was inferred or declared, and what an author expects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import polars as pl

from varv.data.contracts.gained import RowsOf, with_gained
from varv.data.contracts.inference import contract_of_types, infer_contract
from varv.data.contracts.model import Contract, Expectation
from varv.data.contracts.rules import Screen
from varv.data.dataset import Dataset
from varv.data.kept_contracts import Contracts
from varv.data.model import ContractInferred
from varv.data.privacy.minimising import Encrypt, Pseudonymise
from varv.data.versions import stream_of
from varv.data.views import DatasetsView
from varv.kernel.columns import Columns
from varv.kernel.sagas import Fact
from varv.kernel.secret import Secret
from varv.kernel.views import Views
from varv.tasks import OutcomeRule


class PartContracts:
    """The contracts of the parts of all datasets of one store.

    Parameters
    ----------
    columns, views, secret
        Where texts are kept that columns may hold, the views of the ledger, and the key of their digests.
    """

    def __init__(self, columns: Columns, views: Views, secret: Secret) -> None:
        self._views = views
        self._kept = Contracts(columns, views, secret)
        self._outcomes: dict[str, dict[str, OutcomeRule]] = {}
        self._declared: dict[tuple[str, str], Contract] = {}
        self._screens: dict[tuple[str, str], Screen] = {}
        self._expected: dict[tuple[str, str], tuple[tuple[Expectation, ...], tuple[Expectation, ...]]] = {}

    def expect_outcomes(self, dataset: Dataset, column: str, rule: OutcomeRule) -> None:
        """Let contracts that are made from now on allow in a column only what may be an outcome."""
        self._outcomes.setdefault(dataset.name, {})[column] = rule
        self._declared.clear()

    def of(self, dataset: Dataset, part: str) -> Contract:
        """Return what batches of a part are checked by: what was inferred, or else what was declared."""
        inferred = self._kept.latest(dataset.name, part)
        if inferred is not None:
            return inferred
        place = (dataset.name, part)
        if place not in self._declared:
            types, outcomes = dataset.part_types(part), self._outcomes_in(dataset, part)
            self._declared[place] = contract_of_types(types, key=dataset.key, time=part, outcomes=outcomes)
        return self._declared[place]

    def screen(self, dataset: Dataset, part: str) -> Screen:
        """Return what looks at batches of a part by its contract."""
        contract, place = self.of(dataset, part), (dataset.name, part)
        found, declared = self._screens.get(place), self.expectations(dataset, part)
        if found is None or found.contract is not contract or found.declared is not declared:
            found = self._screens[place] = Screen(contract, dataset.part_types(part), declared)
        return found

    def expectations(self, dataset: Dataset, part: str) -> tuple[Expectation, ...]:
        """Return what an author expects of a part: as it is on record, and before that as it is declared."""
        with self._views.reading(DatasetsView) as view:
            recorded = view.expectations(dataset.name)
        every = dataset.expect if recorded is None else recorded
        held = self._expected.get((dataset.name, part))
        if held is None or held[0] is not every:
            held = (every, tuple(one for one in every if dataset.part_of(one) == part))
            self._expected[dataset.name, part] = held
        return held[1]

    def infer(self, dataset: Dataset, part: str, reference: Iterable[pl.DataFrame]) -> Fact:
        """Return the fact that batches of a part must from now on be like its rows of a reference period."""
        contract = infer_contract(
            reference,
            key=dataset.key,
            time=part,
            outcomes=self._outcomes_in(dataset, part),
            declared=self.expectations(dataset, part),
        )
        return self._inferred(dataset, part, _without_pseudonyms(contract, dataset))

    def may_learn(self, dataset: Dataset, part: str) -> bool:
        """Return whether a part has columns of which it is not yet learned what they hold."""
        held = self._kept.latest(dataset.name, part)
        return held is not None and any(rule.may_be_missing for rule in held.columns)

    def learn(self, dataset: Dataset, part: str, rows: RowsOf) -> Fact | None:
        """Return the fact that batches of a part must from now on be like its rows in columns that it gained;
        None as long as too little has come.

        Parameters
        ----------
        rows
            Yields all rows of the part, some columns of them.
        """
        held = self._kept.latest(dataset.name, part)
        learned = None if held is None else with_gained(held, rows)
        return None if learned is None or learned is held else self._inferred(dataset, part, learned)

    def _inferred(self, dataset: Dataset, part: str, contract: Contract) -> Fact:
        kept = self._kept.keep(dataset.name, part, contract)
        return Fact(stream_of(dataset.name), ContractInferred(dataset=dataset.name, part=part, contract=kept))

    def widened(self, dataset: Dataset, part: str, gained: Sequence[str]) -> ContractInferred | None:
        """Return the contract of a part with what follows from the types of columns that it gains; rows of
        before do not bring them. None if nothing was inferred of it yet.
        """
        with self._views.reading(DatasetsView) as view:
            held = view.contract(dataset.name, part)
        types = {name: dtype for name, dtype in dataset.part_types(part).items() if name in gained}
        if held is None or not types:
            return None
        more = contract_of_types(types, key=(), time="", outcomes=self._outcomes_in(dataset, part)).columns
        rules = tuple(msgspec.structs.replace(rule, may_be_missing=True) for rule in more)
        contract = msgspec.structs.replace(held, columns=(*held.columns, *rules))
        return ContractInferred(dataset=dataset.name, part=part, contract=contract)

    def _outcomes_in(self, dataset: Dataset, part: str) -> dict[str, OutcomeRule]:
        columns = dataset.columns(part)
        return {name: of for name, of in self._outcomes.get(dataset.name, {}).items() if name in columns}


def _without_pseudonyms(contract: Contract, dataset: Dataset) -> Contract:
    """Return a contract that does not say which values a pseudonymised column may have: that would refuse
    everybody who is new, and list who is known.
    """
    columns = [
        msgspec.structs.replace(rule, domain=None)
        if isinstance(dataset.pii.get(rule.name), Encrypt | Pseudonymise)
        else rule
        for rule in contract.columns
    ]
    return msgspec.structs.replace(contract, columns=tuple(columns))
