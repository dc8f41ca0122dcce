"""Labels: which requests people are asked about, what they say, and what that says of all requests.

Pure functions choose (`choosing`), the queue is folded from the ledger (`views`), and rules say who may take
or give what (`rules`). Rows are read, and outcomes written, by `home.labelling`.
"""

from varv.labels.policy import LabellingPolicy
from varv.labels.views import LabelsView

__all__ = ["LabellingPolicy", "LabelsView"]
