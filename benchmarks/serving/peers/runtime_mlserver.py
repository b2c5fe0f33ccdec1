"""Runtimes of MLServer for the peers' pipeline: as its documentation has them, and one that does no more than it must."""

import joblib
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Pipeline(MLModel):  # type: ignore[misc]
    """The pipeline over pandas frames."""

    async def load(self) -> bool:
        """Load it."""
        self._model = joblib.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer rows."""
        frame = PandasCodec.decode_request(payload)[list(self._model.feature_names_in_)]
        found = self._model.predict_proba(frame)[:, 1]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probability", found.reshape(-1, 1))])


class Lean(MLModel):  # type: ignore[misc]
    """The same model without pandas: most of the time of a single row is the frame's."""

    async def load(self) -> bool:
        """Load it, and where each value has its column."""
        pipeline = joblib.load(self.settings.parameters.uri)
        encode, self._booster = pipeline.named_steps["encode"], pipeline.named_steps["model"].get_booster()
        nominal = encode.transformers_[0][2]
        self._at: dict[str, dict[str, int]] = {}
        width = 0
        for name, values in zip(nominal, encode.transformers_[0][1].categories_, strict=True):
            self._at[name] = {str(value): width + place for place, value in enumerate(values)}
            width += len(values)
        self._numeric = {name: width + place for place, name in enumerate(n for n in pipeline.feature_names_in_ if n not in nominal)}
        self._width = width + len(self._numeric)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer rows."""
        X = np.full((payload.inputs[0].shape[0], self._width), np.nan, dtype=np.float32)  # as sparse: no entry is missing
        for tensor in payload.inputs:
            if tensor.name in self._numeric:
                X[:, self._numeric[tensor.name]] = [np.nan if value is None else value for value in tensor.data.root]
                continue
            places = self._at[tensor.name]
            for row, value in enumerate(tensor.data.root):
                place = places.get(value.decode() if isinstance(value, bytes) else value)
                if place is not None:
                    X[row, place] = 1
        found = self._booster.inplace_predict(X)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probability", found.reshape(-1, 1))])
