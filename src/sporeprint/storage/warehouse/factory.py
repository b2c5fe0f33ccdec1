"""Opens the warehouse that an address names. Only the one that is asked for is imported."""

from pathlib import Path

from sqlalchemy import URL

from sporeprint.storage.warehouse.protocol import Warehouse


def open_warehouse(address: URL | Path) -> Warehouse:
    """The warehouse at an address of `urls.olap`. Nothing is made before the first load."""
    if isinstance(address, Path):
        from sporeprint.storage.warehouse.parquet_warehouse import ParquetWarehouse

        return ParquetWarehouse(address)
    from sporeprint.storage.warehouse.mariadb_warehouse import MariaDBWarehouse

    return MariaDBWarehouse(address)
