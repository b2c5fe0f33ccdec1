"""A runtime of MLServer for the peers' pipeline."""

import joblib
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
