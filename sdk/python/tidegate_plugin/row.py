"""Rows of a batch, one by one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wit_world.exports.transform import RowError

from .dates import Temporal, to_temporal
from .kinds import AFTER, BEFORE, DELETE, OPS, code

if TYPE_CHECKING:
    from .batch import Batch


class Row:
    """Reads and sets its own image (after the change, or before it if the row was deleted); `row.after` and `row.before` look at one. What is
    set is not read back. A column that the plan does not read, or that there is not, is an error.

    Values: bool, float and bytes are themselves; int64 and uint64 are `int`; text, decimal (its exact digits) and json are `str`. Dates and
    times are `int`: date in milliseconds since 1970-01-01, time in microseconds, datetime (no zone) and timestamp (UTC) in microseconds
    since 1970-01-01T00:00:00; `row.temporal` makes what `datetime` has of them. What no calendar has (0000-00-00) is below -2**63 + 2**60 and
    can be passed on as it is. `None` is NULL, or absent: see `has`. What can be set: the same, `Decimal`, and `date`, `datetime`, `timedelta`."""

    __slots__ = ("index", "_batch", "_values", "_side", "_image")

    def __init__(self, batch: "Batch", index: int, side: str) -> None:
        self.index = index
        self._batch = batch
        self._side = side
        self._values = batch._values[side]
        self._image = BEFORE if side == "before" or (side == "own" and batch._ops[index] == DELETE) else AFTER

    @property
    def op(self) -> str:
        return OPS[self._batch._ops[self.index]]

    @property
    def after(self) -> "Row":
        """The same row, looked at after the change."""
        return Row(self._batch, self.index, "after")

    @property
    def before(self) -> "Row":
        """The same row, looked at before the change."""
        return Row(self._batch, self.index, "before")

    def __getitem__(self, name: str) -> Any:
        return self._values[name][self.index]

    def get(self, name: str) -> Any:
        """The same as `row[name]`."""
        return self._values[name][self.index]

    def temporal(self, name: str) -> Temporal | None:
        """A date as `date`, a time as `timedelta`, a datetime as `datetime`, a timestamp as `datetime` in UTC. ValueError: it is none of the
        years 1 to 9999."""
        word = self._values[name][self.index]
        return None if word is None else to_temporal(self._batch._bound.column(name)[1], word)

    def has(self, name: str) -> bool:
        """False: the image does not have the column (`binlog_row_image = MINIMAL`), so its value is not known. NULL is known."""
        return self._batch._has(self.index, name, self._side)

    def metadata(self, word: str) -> Any:
        return self._batch.metadata(word)[self.index]

    def __setitem__(self, name: str, value: Any) -> None:
        self._batch._patches.cells[self._image][name].set(self.index, value)

    def set(self, name: str, value: Any) -> None:
        """The same as `row[name] = value`."""
        self[name] = value

    def set_op(self, op: str) -> None:
        """Makes another operation of it: a delete that becomes an update keeps the row at the sink."""
        self._batch._patches.set_op(self.index, code(OPS, op, "operation"), self._batch._ops)

    def drop(self) -> None:
        """It goes no further."""
        self._batch._patches.drop(self.index)

    def route(self, *topics: str) -> None:
        """Sends it to these topics and to no other; by default it goes to `schema.table`."""
        self._batch._patches.route(self.index, topics)

    def derive(self, table: str, values: Mapping[str, Any], op: str = "insert", before: Mapping[str, Any] = {}) -> None:
        """Makes a row of a table that the plan derives: an insert, which replaces a row of its key, or another change: an update sets some columns
        of the row of its key (`before` may hold old values), a delete needs the key alone. It is written after this row, whether this one is
        dropped or not. What is left out is absent."""
        self._batch._derive(self.index, table, values, op, before)

    def fail(self, message: str) -> None:
        """It cannot be processed: the pipeline stops in front of it. The message should not hold values."""
        self._batch._patches.errors.append(RowError(self.index, str(message)))
