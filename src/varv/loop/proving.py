"""What is on record that proves a requirement of a candidate before it meets traffic."""

from __future__ import annotations

from collections.abc import Sequence

from varv.data.views import DatasetsView
from varv.kernel.ids import ModelName
from varv.kernel.views import Views
from varv.loop.requirements import (
    CONTRACT,
    GATE,
    Proof,
    RequirementSpec,
    contract_proof,
    gate_proof,
    leaks_proof,
    required_of,
    verdict_on,
)
from varv.loop.views import LoopRecord, LoopView
from varv.training.gates import GateResult


def known_before_traffic(
    reference: str,
    record: LoopRecord,
    datasets: DatasetsView,
    results: Sequence[GateResult],
    seq: int | None = None,
) -> Proof:
    """Return what a gate, a contract or the search for leaks proves.

    Parameters
    ----------
    results, seq
        The verdicts on the version, and the entry that they are in, if they are in one yet.
    """
    if reference.startswith(GATE):
        return gate_proof(reference, results, seq)
    if reference.startswith(CONTRACT):
        return contract_proof(reference, datasets.inferred_in)
    return leaks_proof(record.examined, [one.line() for one in record.leaks], record.examined_in)


def held_back(
    views: Views, model: ModelName, specs: Sequence[RequirementSpec], results: Sequence[GateResult]
) -> tuple[GateResult, ...]:
    """Return the verdicts on the requirements without which a candidate does not meet traffic.

    Parameters
    ----------
    results
        The verdicts of the gates.
    """
    required = [spec for spec in specs if spec.required]
    if not required:
        return ()
    with views.reading(LoopView) as loops, views.reading(DatasetsView) as datasets:
        record = loops.loops[model]
        return tuple(
            verdict_on(
                required_of(
                    spec, [known_before_traffic(one, record, datasets, results) for one in spec.proofs]
                )
            )
            for spec in required
        )
