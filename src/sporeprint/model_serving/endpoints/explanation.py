"""Why a prediction is as it is, as it is sent."""

import asyncio

from sporeprint.inference import predictor
from sporeprint.messages.predictions import FeatureEffect, NearestObservation, PredictionExplanation
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.row_parser import Row


async def explain_prediction(served: LoadedModel, row: Row) -> PredictionExplanation:
    """Why a version predicts what it does of a row."""
    explanation = await asyncio.to_thread(predictor.explain_row, served.bundle, row)
    near = explanation.nearest
    return PredictionExplanation(
        attributions=tuple(FeatureEffect(column=each.column, effect=each.effect, text=each.text) for each in explanation.attributions),
        unit=explanation.unit,
        base=explanation.base,
        contradictions=explanation.prediction.contradictions,
        most_similar_group=str(explanation.prediction.most_like),
        nearest=None
        if near is None
        else NearestObservation(
            row=near.row, group=str(explanation.nearest_component), distance=near.distance, differing=near.differing, values=near.values
        ),
    )
