"""A database of predictions, and a warehouse in each of its two forms."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine

from mariadb_server import MariaDB
from sporeprint.storage.warehouse.protocol import Warehouse
from warehouse_support import database, warehouse_at


@pytest.fixture
def oltp(tmp_path: Path) -> Iterator[Engine]:
    engine = database(URL.create("sqlite", database=str(tmp_path / "oltp.db")))
    yield engine
    engine.dispose()


@pytest.fixture(params=["parquet", "mariadb"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    address = str(tmp_path / "warehouse")
    if request.param == "mariadb":
        server: MariaDB = request.getfixturevalue("mariadb")
        address = server.url(database=server.create_database()).render_as_string(hide_password=False)
    with warehouse_at(address) as found:
        yield found
