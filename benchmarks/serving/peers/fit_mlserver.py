"""The peers' model as MLServer model repositories: without and with adaptive batching."""

import json
import os
import shutil
from pathlib import Path

from fit import fitted

fitted()
folder = Path(os.environ["BENCH_FOLDER"])
for name, batching in (("mlserver_plain", {}), ("mlserver_batching", {"max_batch_size": 64, "max_batch_time": 0.05})):
    place = folder / name / "mushrooms"
    shutil.rmtree(folder / name, ignore_errors=True)
    place.mkdir(parents=True)
    model = {"name": "mushrooms", "implementation": "runtime_mlserver.Pipeline", "parameters": {"uri": str(folder / "pipeline.joblib")}}
    (place / "model-settings.json").write_text(json.dumps({**model, **batching}))
    (folder / name / "settings.json").write_text(json.dumps({"parallel_workers": 0, "debug": False}))
