"""Filters in SQL that can read the catalog and nothing else: no files, no network, no second statement."""

import atexit
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from reshim.errors import UserError

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "1",
    "memory_limit": "2GB",
}
_NUMBER = "__row"


def matching_rows(table: pa.Table, condition: str) -> np.ndarray:
    """Numbers of the rows that satisfy `condition`, ascending.

    Raises
    ------
    UserError
        If the condition is no single SQL condition over the catalog's columns.
    """
    numbered = table.append_column(_NUMBER, pa.array(np.arange(table.num_rows)))
    connection = _database().cursor()
    try:
        connection.register("catalog", numbered)
        query = f"SELECT {_NUMBER} FROM catalog WHERE (\n{condition}\n)"
        if len(duckdb.extract_statements(query)) != 1:
            raise UserError(f"--where {condition!r} holds several statements; give one condition")
        found = connection.execute(query).fetchnumpy()[_NUMBER]
    except duckdb.Error as error:
        raise UserError(
            f"--where {condition!r} is no condition over the catalog ({str(error).splitlines()[0]}); "
            f"columns are "
            f"{', '.join(table.column_names)}, text stands in single quotes: anatomy = 'knee' AND "
            f"field_tesla > 2"
        ) from None
    finally:
        connection.close()
    return np.unique(np.ma.filled(found, 0).astype(np.int64))


@lru_cache(maxsize=1)
def _database() -> Any:
    database = duckdb.connect(":memory:", config=_LOCKED)
    database.execute("SET lock_configuration = true")
    # An open database at the interpreter's end is reported as a leak on the user's terminal.
    atexit.register(_forget, database)
    return database


def _forget(database: Any) -> None:
    database.close()
    _database.cache_clear()
