"""Who may ask the data plane for what, how much, and what happens under overload.

Nothing here knows a protocol: the hot path, the application and the calls over gRPC ask the one `Door` of
their worker, and tell its refusals each in their own way.
"""

from varv.fronts.access.clients import Client
from varv.fronts.access.cors import Origins
from varv.fronts.access.door import Caller, Door

__all__ = ["Caller", "Client", "Door", "Origins"]
