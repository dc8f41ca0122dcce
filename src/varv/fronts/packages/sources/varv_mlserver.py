"""A runtime of MLServer for what `varv package` wrote: columns as tensors in, the prediction as one out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput, TensorData
from mlserver.utils import get_model_uri
from varv_scoring import Scorer


class OnnxColumns(MLModel):
    """One version, by ONNX Runtime."""

    async def load(self) -> bool:
        """Bring the model into memory."""
        self._scorer = Scorer(Path(await get_model_uri(self.settings)))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return predictions; refuse what the model does not read."""
        try:
            found = self._scorer.predict({one.name: _values(one) for one in payload.inputs})
        except ValueError as error:
            raise InferenceError(str(error)) from None
        answer = ResponseOutput(
            name=self._scorer.output,
            datatype="FP32",
            shape=list(found.shape),
            data=TensorData(found.ravel().tolist()),
        )
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self.version, outputs=[answer]
        )


def _values(given: RequestInput) -> list[Any]:
    if given.datatype == "BYTES":
        return list(StringCodec.decode_input(given))
    return _flat(given.data.root)


def _flat(data: Any) -> list[Any]:
    """Return the values of a tensor: the protocol lets rows be lists of their own."""
    if not isinstance(data, list):
        return [data]
    return [value for one in data for value in (_flat(one) if isinstance(one, list) else [one])]
