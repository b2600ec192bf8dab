"""Connections to databases that speak SQL, SQLite and PostgreSQL, for whatever keeps rows there."""

from atdata.databases.connection import SqlConnection
from atdata.databases.opening import is_there, open_connection
from atdata.databases.tables import Dialect, SqlTables, check_format

__all__ = ["Dialect", "SqlConnection", "SqlTables", "check_format", "is_there", "open_connection"]
