"""Instants as the tables have them: whole microseconds since 1970, in UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_number(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def to_instant(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND
