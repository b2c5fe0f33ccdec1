"""Warehouses of each kind, empty, for the tests of what runs on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mariadb_server import MariaDB
from sporeprint.storage.warehouse.protocol import Warehouse
from warehouse_support import warehouse_at


@pytest.fixture(params=["parquet", "mariadb"])
def warehouse_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty warehouse of each kind is."""
    if request.param == "parquet":
        return str(tmp_path / "warehouse")
    server: MariaDB = request.getfixturevalue("mariadb")
    return server.url(database=server.create_database()).render_as_string(hide_password=False)


@pytest.fixture
def warehouse(warehouse_address: str) -> Iterator[Warehouse]:
    """An empty warehouse of each kind."""
    with warehouse_at(warehouse_address) as found:
        yield found
