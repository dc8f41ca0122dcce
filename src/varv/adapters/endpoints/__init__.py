"""Models that answer elsewhere over HTTP: described once, asked for predictions from then on.

`calls` asks one model, with a deadline, retries and a breaker, of which `patience` has the rules;
`connections` are kept open and hold to the deadline; `forms` are the protocols as functions of bytes;
`columns` asks for columns of columns; `describing` asks a model what it reads and says. What comes from there
is bounded, and checked before it is believed.
"""

from varv.adapters.endpoints.calls import Calls
from varv.adapters.endpoints.columns import ColumnTensor, EndpointColumns
from varv.adapters.endpoints.describing import described

__all__ = ["Calls", "ColumnTensor", "EndpointColumns", "described"]
