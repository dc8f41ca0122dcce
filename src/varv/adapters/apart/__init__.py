"""Models whose runtime runs code of their own, and functions that transform requests and answers, each in a
process of its own: `Apart`.

A model there may hang, leak, crash or end its process, and nobody else notices: not the event loop, not other
models, not the machine's memory. `app.server.worker` hands it to its runtimes; jobs of trainings and replays,
which have a process of their own already, load models where they are. `child` is the process, `process` one
process as it is seen from here, `model` a model over the processes that it has one after the other,
`keeper` the thread that starts and watches them, `restarts` says when the next one is started.
"""

from varv.adapters.apart.loading import Apart
from varv.adapters.apart.source import FunctionSource

__all__ = ["Apart", "FunctionSource"]
