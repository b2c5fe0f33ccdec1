"""Where everything a run writes lies, below one folder."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workdir:
    """The layout of a work directory."""

    root: Path

    def at(self, path: str) -> Path:
        """A path of the configuration: below the work directory, or absolute."""
        return self.root / path

    def shown(self, path: Path) -> str:
        """A path for people: relative to the work directory where it lies below it."""
        return os.path.relpath(path, self.root) if path.is_relative_to(self.root) else str(path)

    @property
    def extract_record(self) -> Path:
        """Record of the extract step."""
        return self.root / "data/raw/extract.json"

    @property
    def outcomes(self) -> Path:
        """Predictions with known outcomes, as rows to train on."""
        return self.root / "data/raw/outcomes.parquet"

    @property
    def staging(self) -> Path:
        """What `transform` wrote, before `load` publishes it."""
        return self.root / "data/staging"

    @property
    def processed(self) -> Path:
        """Folder of the cleaned table."""
        return self.root / "data/processed"

    @property
    def model_input(self) -> Path:
        """Folder of the split table."""
        return self.root / "data/model_input"

    @property
    def validation(self) -> Path:
        """Folder of the validation's results."""
        return self.root / "data/validation"

    def rejected(self, run_id: str) -> Path:
        """The rows a run rejected."""
        return self.validation / "rejected" / f"{run_id}.parquet"

    @property
    def data_record(self) -> Path:
        """What `load` published: counts, splits, provenance."""
        return self.validation / "summary.json"

    @property
    def candidates(self) -> Path:
        """Folder of the models that `train` fitted and nobody has registered."""
        return self.root / "models/candidates"

    @property
    def evaluation_record(self) -> Path:
        """The evaluation of the candidates, which `register` reads."""
        return self.candidates / "evaluation.json"

    @property
    def registry(self) -> Path:
        """Folder of the registered versions."""
        return self.root / "models/registry"

    @property
    def metrics(self) -> Path:
        """Folder of the evaluation's results."""
        return self.root / "models/metrics"

    @property
    def monitoring(self) -> Path:
        """Folder of the monitor's reports, and of what it remembers."""
        return self.metrics / "monitoring"

    @property
    def retraining(self) -> Path:
        """Folder of the lock of who makes a challenger."""
        return self.root / "data/retrain"

    @property
    def serving(self) -> Path:
        """Folder of what the workers of a running server count."""
        return self.root / "data/serving"

    @property
    def logs(self) -> Path:
        """Folder of the run logs."""
        return self.root / "logs"
