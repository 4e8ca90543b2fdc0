"""Dates and times: words on the way, exact; as `datetime` has them where someone wants to reckon with them."""

from datetime import UTC, date, datetime, time, timedelta

from .kinds import DATE, DATETIME, KINDS, TIME, TIMESTAMP

Temporal = date | datetime | timedelta
EPOCH = datetime(1970, 1, 1)
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY_MS = 86_400_000


def to_temporal(kind: int, word: int) -> Temporal:
    """A word of a column of this kind. `datetime` has the years 1 to 9999 only, and no date that no calendar has (0000-00-00)."""
    try:
        if kind == DATE:
            return (EPOCH + timedelta(milliseconds=word)).date()
        if kind == TIME:
            return timedelta(microseconds=word)
        if kind == DATETIME:
            return EPOCH + timedelta(microseconds=word)
        if kind == TIMESTAMP:
            return EPOCH_UTC + timedelta(microseconds=word)
    except OverflowError:
        raise ValueError("a date that Python's datetime does not have: its number can be passed on as it is") from None
    raise TypeError(f"a value of kind {KINDS[kind]} is no date")


def to_word(kind: int, value: Temporal) -> int | None:
    """None: it is not what goes into a column of this kind."""
    if kind == DATE and isinstance(value, date) and not isinstance(value, datetime):
        return (datetime.combine(value, time()) - EPOCH) // timedelta(milliseconds=1)
    if kind == TIME and isinstance(value, timedelta):
        return value // MICROSECOND
    if kind == DATETIME and isinstance(value, datetime) and value.tzinfo is None:
        return (value - EPOCH) // MICROSECOND
    if kind == TIMESTAMP and isinstance(value, datetime) and value.tzinfo is not None:
        return (value - EPOCH_UTC) // MICROSECOND
    return None
