"""The use case that shows what a version of a model was trained on, and what moved since an earlier one.

The training makes the profile (`data.profiling.trained`); nothing is computed again here.
"""

from __future__ import annotations

import msgspec

from varv.data.profiling.trained import read_training, trained_versions, training_profile
from varv.data.profiling.verbs import Profiled
from varv.home.records import Records
from varv.kernel.errors import NotFound
from varv.kernel.ids import ModelName
from varv.kernel.verbs import EXPORT, verb
from varv.profiles import Profile
from varv.profiles.difference import profile_difference
from varv.registry import RegistryView


class TrainingProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a model: the champion if it is left out, or the last with a profile where none
    serves; of the only model of the home. And an earlier version that it is compared with, if any.
    """

    model: str = ""
    version: int | None = None
    against: int | None = None


@verb("model.profile", needs=EXPORT)
def profile_training(records: Records, asked: TrainingProfileRequest) -> Profiled:
    """Profile what a version of a model was trained on, and what moved since another version.

    Raises
    ------
    NotFound
        If there is no such model, or no profile of such a version is kept.
    """
    model = records.model(asked.model)
    version = asked.version or _by_default(records, model)
    profile = _kept(records, model, version)
    difference = None
    if asked.against is not None:
        difference = profile_difference(_kept(records, model, asked.against), profile)
    return Profiled(
        dataset=model,
        part="",
        version=version,
        profile=read_training(profile),
        against="" if asked.against is None else f"v{asked.against}",
        difference=difference,
    )


def _by_default(records: Records, model: ModelName) -> int:
    with records.views.reading(RegistryView) as registry:
        record = registry.models.get(model)
        trained = () if record is None else tuple(record.versions.items())
        champions = [number for number, one in trained if "champion" in one.aliases]
    return max(champions or trained_versions(records.home, model), default=0)


def _kept(records: Records, model: ModelName, version: int) -> Profile:
    found = training_profile(records.home, model, version)
    if found is None:
        kept = ", ".join(f"v{one}" for one in trained_versions(records.home, model)) or "none"
        hint = f"a training makes it; kept are those of {kept}"
        raise NotFound("profile", f"{model} v{version}", "is not kept", hint=hint)
    return found
