"""What is declared of a model as the ledger keeps it."""

from __future__ import annotations

from collections.abc import Sequence

from varv.features import definitions_of
from varv.kernel.codec import Digest
from varv.kernel.sagas import Fact
from varv.loop.declaring.model import Declared
from varv.project.plan import ModelPlan
from varv.project.wording import freshness_of, settings_of


def declared_fact(
    plan: ModelPlan, declaration: Digest, *, added: Sequence[str] = (), kept: Sequence[str] = ()
) -> Fact:
    """Return the fact that a model is declared like this from now on.

    Parameters
    ----------
    added
        Features that earlier stored requests lack.
    kept
        Features that are computed though they are not declared.
    """
    declared = Declared(
        model=plan.name,
        declaration=declaration,
        requests=plan.schema.requests.name,
        definition=plan.loop.definition(),
        features=definitions_of(plan.loop.features),
        unit=plan.schema.unit,
        settings=settings_of(plan),
        added=tuple(added),
        kept=tuple(kept),
        serving=plan.schema.serving,
        requirements=plan.loop.requirements,
        labelling=plan.labelling,
        fresh=freshness_of(plan),
    )
    return Fact(plan.loop.loop_id, declared)
