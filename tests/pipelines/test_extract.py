"""The extract step: what a source is that this machine alone cannot read. (Files, addresses, queries: tests/ingestion.)"""

from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.errors import ConfigError
from sporeprint.pipelines.extract import run_extract


def test_a_table_of_a_catalogue_needs_its_cluster(small_config: dict[str, Any], tmp_path: Path) -> None:
    message = r"^spark:lake\.observations is a table of a Spark catalogue; name the cluster with --engine or engine\.master$"
    with pytest.raises(ConfigError, match=message):
        run_extract(settings.parse(small_config), tmp_path, source="spark:lake.observations")
