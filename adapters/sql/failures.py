"""What databases say when something is wrong with them, told apart for people by its code."""

from collections.abc import Mapping

from streamwf.adapters.tls import certificate_failure
from streamwf.errors import (
    StoreDenied,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
)

Failure = type[StoreUnreachable]

# What the SQLSTATE of PostgreSQL begins with, the more special ones first.
_POSTGRES: Mapping[str, Failure] = {
    "28": StoreDenied,
    "42501": StoreDenied,
    "3D": StoreNotFound,
    "25006": StoreReadOnly,
    "53100": StoreFull,
    # Lost connections, rings of locks, what it has too little of, shutdown, its disks.
    **dict.fromkeys(("08", "40", "53", "57P", "58"), StoreUnreachable),
}
# Of MySQL, but for those of its client, which begin at 2000.
_MYSQL: Mapping[int, Failure] = {
    **dict.fromkeys((1044, 1045, 1142, 1227, 1698), StoreDenied),
    1049: StoreNotFound,
    **dict.fromkeys((1290, 1792, 1836), StoreReadOnly),
    **dict.fromkeys((1021, 1114), StoreFull),
    # Files, too many connections, shutdown, and who waited for a lock too long or in a ring.
    **dict.fromkeys((1026, 1040, 1053, 1203, 1205, 1213, 1927, 4031), StoreUnreachable),
}
# Of SQLite: the last byte of its code, as the others are the circumstances.
_SQLITE: Mapping[int, Failure] = {
    23: StoreDenied,
    **dict.fromkeys((14, 26), StoreNotFound),
    8: StoreReadOnly,
    13: StoreFull,
    # Busy, locked, input and output, damaged.
    **dict.fromkeys((5, 6, 10, 11), StoreUnreachable),
}


def failure_of(error: BaseException) -> Failure | None:
    """What to raise for an error of a driver; None if the statement is to blame for it."""
    if kind := certificate_failure(error):
        return kind
    if isinstance(error, OSError):
        return StoreUnreachable
    sqlite = getattr(error, "sqlite_errorcode", None)
    if isinstance(sqlite, int):
        return _SQLITE.get(sqlite & 0xFF)
    number = error.args[0] if error.args else None
    if isinstance(number, int):
        return StoreUnreachable if 2000 <= number < 3000 else _MYSQL.get(number)
    # That of MySQL says less than its number.
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return next((kind for code, kind in _POSTGRES.items() if state.startswith(code)), None)
    return None
