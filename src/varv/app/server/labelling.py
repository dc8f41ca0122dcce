"""Requests to be labelled, chosen by the server as their windows end: so the queue is there, and too little
exploration raises its alarm, also while nobody labels.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from varv.home.labelling.desk import Labelling
from varv.home.labelling.verbs import choose_due
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName
from varv.kernel.observe import log
from varv.loop.views import LoopView

EVERY_S = 60.0
_LOG = logging.getLogger(__name__)


def keep_choosing(
    labelling: Callable[[], Labelling], ended: threading.Event, *, every_s: float = EVERY_S
) -> None:
    """Choose from the windows of every model as they end, until `ended`.

    What hinders it is logged and tried again: a queue that is late must not end a server that answers.
    """
    while not ended.wait(every_s):
        found = labelling()
        for model in labelled_models(found):
            try:
                choose_due(found, found.model(model))
            except VarvError as error:
                if ended.is_set():
                    return
                log(_LOG, logging.WARNING, "labels.not_chosen", model=model, why=str(error))


def labelled_models(labelling: Labelling) -> list[str]:
    """Return the models that declare a labelling and have a version to be labelled for."""
    with labelling.views.reading(LoopView) as loops:
        names = [name for name in sorted(loops.declared) if loops.declared[name].labelling is not None]
    return [name for name in names if labelling.tables.outcome(ModelName(name)) is not None]
