"""For comparison: bare ASGI, FastAPI with pydantic and no model, FastAPI with a scikit-learn pipeline as in tutorials."""

import os
from pathlib import Path
from typing import Annotated, Any


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read the body, answer."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _echo() -> Any:
    from fastapi import FastAPI
    from pydantic import Field, create_model

    numeric = ("cap-diameter", "stem-height", "stem-width")
    nominal = (
        *("cap-shape", "cap-surface", "cap-color", "does-bruise-or-bleed", "gill-attachment", "gill-spacing", "gill-color", "stem-root"),
        *("stem-surface", "stem-color", "veil-type", "veil-color", "has-ring", "ring-type", "spore-print-color", "habitat", "season"),
    )
    fields: dict[str, Any] = {name.replace("-", "_"): (float | None, Field(None, alias=name)) for name in numeric}
    fields |= {name.replace("-", "_"): (str | None, Field(None, alias=name)) for name in nominal}
    Row = create_model("Row", **fields)
    app = FastAPI()

    async def predict(row: Row) -> Row:  # type: ignore[valid-type]
        return row

    predict.__annotations__ = {"row": Row, "return": Row}
    app.post("/predict")(predict)
    return app


def _pipeline() -> Any:
    import joblib
    import pandas as pd
    from fastapi import Body, FastAPI

    model, app = joblib.load(Path(os.environ["BENCH_FOLDER"]) / "pipeline.joblib"), FastAPI()
    columns = list(model.feature_names_in_)

    def predict(row: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        frame = pd.DataFrame([[row.get(name) for name in columns]], columns=columns)
        return {"probability": float(model.predict_proba(frame)[0, 1])}

    app.post("/predict")(predict)
    return app


def __getattr__(name: str) -> Any:
    # Only the one that is served is made: the others' libraries are not in its environment.
    if name in ("echo", "pipeline"):
        return {"echo": _echo, "pipeline": _pipeline}[name]()
    raise AttributeError(name)
