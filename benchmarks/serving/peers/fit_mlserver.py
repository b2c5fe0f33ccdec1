"""The peers' model as MLServer model repositories: as it comes, tuned, and with a runtime written for speed."""

import json
import os
import shutil
from pathlib import Path

from fit import fitted

BATCHING = {"max_batch_size": 64, "max_batch_time": 0.01}
#: Repository -> runtime, settings of the model, processes beside the one that answers.
VARIANTS: dict[str, tuple[str, dict[str, float], int]] = {
    "mlserver": ("Pipeline", {}, 0),
    "mlserver-batching": ("Pipeline", BATCHING, 0),
    "mlserver-workers": ("Pipeline", {}, 2),
    "mlserver-lean": ("Lean", {}, 0),
    "mlserver-lean-batching": ("Lean", BATCHING, 0),
    "mlserver-lean-workers": ("Lean", {}, 2),
}

fitted()
folder = Path(os.environ["BENCH_FOLDER"])
shutil.rmtree(folder / "repositories", ignore_errors=True)
for name, (runtime, batching, workers) in VARIANTS.items():
    place = folder / "repositories" / name
    (place / "mushrooms").mkdir(parents=True)
    model = {"name": "mushrooms", "implementation": f"runtime_mlserver.{runtime}", "parameters": {"uri": str(folder / "pipeline.joblib")}}
    (place / "mushrooms/model-settings.json").write_text(json.dumps({**model, **batching}))
    (place / "settings.json").write_text(json.dumps({"parallel_workers": workers, "debug": False, "gzip_enabled": False}))
