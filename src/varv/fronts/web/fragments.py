"""What things look like in a notebook: a piece of HTML that stands alone, beside pieces of others.

The style of the console is inside, nested below one class, so that nothing else on the page changes; light or
dark follows the notebook's theme where it says which, and the reader's system otherwise. There is no script,
and nothing is fetched. Ids are made to differ from piece to piece.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from varv.data.profiling.verbs import Profiled
from varv.fronts.web import words
from varv.fronts.web.report import report_body
from varv.fronts.web.templating import asset, environment
from varv.home.model import Comparison, Comparisons
from varv.home.model_status import ModelStatus
from varv.home.status import StatusReport
from varv.home.verbs import DatasetStatus
from varv.home.why import Explanation
from varv.home.wording import compared_digits, loss_of, metrics_shown, validation_columns
from varv.kernel.verify import Finding
from varv.kernel.views import Views
from varv.loop.printed import Printed
from varv.tasks import task_of

_IDS = re.compile(r'(?P<head> (?:id|aria-labelledby)="| href="#)(?P<names>[^"]+)(?=")')
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
MOST_FACTS = 40


def replay_fragment(reports: Sequence[tuple[Comparison, Views]]) -> str:
    """Return the reports on the models of a replay; of several, the first is open."""
    if len(reports) == 1:
        return _fragment(report_body(*reports[0]))
    parts = [
        {"name": comparison.model, "body": _with_own_ids(report_body(comparison, views))}
        for comparison, views in reports
    ]
    return _fragment(_rendered("shown_replays.html", parts=parts))


def models_fragment(models: Sequence[ModelStatus]) -> str:
    """Return a line for each model."""
    return _fragment(_rendered("shown_models.html", models=models))


def datasets_fragment(datasets: Sequence[DatasetStatus]) -> str:
    """Return a line for each part of each dataset."""
    return _fragment(_rendered("shown_datasets.html", datasets=datasets))


def answer_fragment(value: object) -> str:
    """Return what a verb answered: as its kind is shown, or as names and values."""
    match value:
        case StatusReport():
            alone = value.models[0] if len(value.models) == 1 else None
            body = _rendered("shown_status.html", report=value, alone=alone, **_of_model(alone))
        case ModelStatus():
            body = _rendered("shown_model.html", alone=value, **_of_model(value))
        case DatasetStatus():
            body = _rendered("shown_dataset.html", dataset=value)
        case Explanation():
            body = _rendered("shown_why.html", found=value)
        case Comparison():
            body = _rendered("shown_comparison.html", models=[(value, _columns_of(value))])
        case Comparisons():
            models = [(one, _columns_of(one)) for one in value.models]
            body = _rendered("shown_comparison.html", models=models)
        case Profiled():
            body = _rendered("shown_profile.html", found=value)
        case Printed():
            body = _rendered("shown_output.html", found=value)
        case _ if _is_verification(value):
            body = _rendered("shown_verify.html", found=value)
        case _:
            body = _rendered("shown_facts.html", kind=_named(value), facts=_facts(value))
    return _fragment(body)


def progress_fragment(bars: Sequence[Mapping[str, Any]], lines: Sequence[str]) -> str:
    """Return how far a replay is: for each policy its ``name``, the ``share`` that is done, and what is
    ``said`` of it; and the last lines that were told.
    """
    return _fragment(_rendered("shown_progress.html", bars=bars, lines=lines))


def _of_model(model: ModelStatus | None) -> dict[str, Any]:
    if model is None:
        return {}
    task = task_of(model.task)
    return {"columns": validation_columns(task), "has_outcome": task.has_outcome}


def _columns_of(comparison: Comparison) -> dict[str, Any]:
    """Return what the policies of a comparison are shown by."""
    loss = loss_of(comparison)
    if loss is None:
        return {"loss": "", "digits": 0, "metrics": ()}
    return {"loss": loss.label, "digits": compared_digits(loss), "metrics": metrics_shown(comparison)}


def _is_verification(value: object) -> bool:
    findings = getattr(value, "findings", None)
    return isinstance(findings, tuple) and all(isinstance(one, Finding) for one in findings)


def _named(value: object) -> str:
    words_of = re.sub(r"(?<!^)(?=[A-Z])", " ", type(value).__name__)
    return words_of.capitalize() if isinstance(value, msgspec.Struct) else "Answer"


def _facts(value: object) -> list[tuple[str, str]]:
    plain = msgspec.to_builtins(value, enc_hook=str)
    pairs = plain.items() if isinstance(plain, dict) else [("", plain)]
    return [(str(name).replace("_", " "), _text(of)) for name, of in list(pairs)[:MOST_FACTS]]


def _text(value: object) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()[:2000]


def _rendered(template: str, **about: Any) -> str:
    return _environment().get_template(template).render(outcome=words.outcome, **about)


@functools.cache
def _environment() -> Any:
    return environment()


def _fragment(body: str) -> str:
    """Return a body with its style, in an element of its own."""
    return f'<div class="varv"><style>{_style()}</style>{_with_own_ids(body)}</div>'


def _with_own_ids(body: str) -> str:
    """Return HTML whose ids begin with a digest of it, with all that refers to them."""
    own = "v" + hashlib.blake2b(body.encode(), digest_size=4).hexdigest()

    def renamed(found: re.Match[str]) -> str:
        return found["head"] + " ".join(f"{own}-{name}" for name in found["names"].split())

    return _IDS.sub(renamed, body)


@functools.cache
def _style() -> str:
    """Return the console's style below the class of a fragment, without comments and line breaks."""
    sheet = asset("varv.css").decode().replace(":root {", "& {", 1).replace("\nbody {", "\n& {", 1)
    own = asset("notebook.css").decode()
    return " ".join(_COMMENT.sub("", f".varv {{ {sheet} }} {own}").split())
