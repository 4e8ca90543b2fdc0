"""Columns of values: reading those that the host passes, making those that it gets."""

from array import array
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from wit_world.imports.types import Buffer_Bits, Buffer_Packed, Buffer_Words, Varlen, Vector

from .dates import to_word
from .kinds import BOOLEAN, BYTES, DECIMAL, FLOAT64, KINDS, TEXTS, UINT64

FLAGS = bytes.maketrans(b"01", b"\0\1")
DIGITS = bytes.maketrans(b"\0\1", b"01")


def flags(bits: bytes, rows: int) -> bytes:
    """A bitmap as a byte a row, 0 or 1."""
    digits = format(int.from_bytes(bits, "little"), f"0{rows}b").encode()
    # A bitmap may have more bits than there are rows.
    return digits[::-1][:rows].translate(FLAGS)


def bitmap(flags: bytes | bytearray) -> bytes:
    """The bitmap of a byte a row, 0 or 1."""
    return int(flags[::-1].translate(DIGITS), 2).to_bytes((len(flags) + 7) // 8, "little")


def bit(bits: bytes, row: int) -> bool:
    return bool(bits[row >> 3] >> (row & 7) & 1)


def texts(data: bytes, ends: list[int]) -> list[str]:
    """The texts of a packed column. One string for all and its parts take half the time of a string each."""
    if data.isascii():
        text = data.decode()
        return [text[start:end] for start, end in pairwise(ends)]
    return [data[start:end].decode() for start, end in pairwise(ends)]


def packed(values: list[Any]) -> Buffer_Packed:
    """A column of texts, or of bytes."""
    if values and isinstance(values[0], str):
        text = "".join(values)
        data = text.encode()
        sized = values if len(data) == len(text) else [value.encode() for value in values]
    else:
        data, sized = b"".join(values), values
    return Buffer_Packed(Varlen(array("i", accumulate(map(len, sized), initial=0)).tobytes(), data))


def values(vector: Vector, rows: int) -> list[Any]:
    """All values of a vector; None is NULL, or absent."""
    data, kind = vector.data, vector.kind
    found: Sequence[Any]
    if isinstance(data, Buffer_Words):
        found = memoryview(data.value).cast("Q" if kind == UINT64 else "d" if kind == FLOAT64 else "q").tolist()
    elif isinstance(data, Buffer_Bits):
        found = [flag == 1 for flag in flags(data.value, rows)]
    else:
        ends, whole = memoryview(data.value.offsets).cast("i").tolist(), data.value.data
        found = texts(whole, ends) if kind in TEXTS else [whole[start:end] for start, end in pairwise(ends)]
    if not vector.nulls:
        return found
    return [value if flag else None for value, flag in zip(found, flags(vector.nulls, rows))]


class Buffers(NamedTuple):
    """The bytes of a column, for work on all of it at once."""

    # A byte a row: 0 where it is NULL, or absent, and 1 elsewhere. Empty: no row is either.
    valid: bytes = b""
    # 8 bytes a row, little-endian: numbers, dates and times. Empty for other kinds.
    words: bytes = b""
    # Where each row's value begins in `data`, and the end of the last: text, decimals, JSON and bytes. Empty for other kinds.
    offsets: Sequence[int] = ()
    # The values one after the other, text as UTF-8; of booleans a byte a row, 0 or 1.
    data: bytes = b""


def buffers(vector: Vector, rows: int) -> Buffers:
    valid = flags(vector.nulls, rows) if vector.nulls else b""
    data = vector.data
    if isinstance(data, Buffer_Words):
        return Buffers(valid, words=data.value)
    if isinstance(data, Buffer_Bits):
        return Buffers(valid, data=flags(data.value, rows))
    return Buffers(valid, offsets=memoryview(data.value.offsets).cast("i").tolist(), data=data.value.data)


def rewritten(old: Vector, made: Buffers) -> Vector:
    """Other values in place of the old ones, as valid as they were. The host checks them."""
    data: Any
    if isinstance(old.data, Buffer_Words):
        data = Buffer_Words(bytes(made.words))
    elif isinstance(old.data, Buffer_Bits):
        data = Buffer_Bits(bitmap(bytes(made.data)))
    else:
        data = Buffer_Packed(Varlen(array("i", list(made.offsets)).tobytes(), bytes(made.data)))
    return Vector(old.kind, old.nulls, old.present, data)


class Unset:
    """What stands where nothing was set."""


UNSET = Unset()


class Cells:
    """Values of one column that are set one by one."""

    __slots__ = ("rows", "kind", "name", "type", "values")

    def __init__(self, rows: int, kind: int, name: str) -> None:
        """`name` is for errors."""
        self.rows, self.kind, self.name = rows, kind, name
        self.type = str if kind in TEXTS else bytes if kind == BYTES else bool if kind == BOOLEAN else float if kind == FLOAT64 else int
        # None is NULL.
        self.values: list[Any] = [UNSET] * rows

    def set(self, row: int, value: Any) -> None:
        if value.__class__ is not self.type and value is not None:
            value = self.fitting(value)
        self.values[row] = value

    def set_each(self, values: Iterable[Any]) -> None:
        """One a row, all of them."""
        values = list(values)
        if len(values) != self.rows:
            raise ValueError(f"column `{self.name}`: {len(values)} values for {self.rows} rows")
        if set(map(type, values)) <= {self.type, type(None)}:
            self.values = values
            return
        for row, value in enumerate(values):
            self.set(row, value)

    def fitting(self, value: Any) -> Any:
        """The value as this column has it."""
        made: Any = None
        if self.type is int:
            made = int(value) if isinstance(value, int) and not isinstance(value, bool) else to_word(self.kind, value)
        elif self.type is float and isinstance(value, int | float) and not isinstance(value, bool):
            made = float(value)
        elif self.type is bytes and isinstance(value, bytes | bytearray | memoryview):
            made = bytes(value)
        elif self.kind == DECIMAL and isinstance(value, Decimal) and value.is_finite():
            made = format(value, "f")
        elif isinstance(value, self.type):
            made = self.type(value)
        if made is None:
            raise TypeError(f"column `{self.name}` is {KINDS[self.kind]}; the value is {type(value).__name__}")
        return made

    def is_empty(self) -> bool:
        return set(map(type, self.values)) <= {Unset}

    def set_rows(self) -> bytes:
        """The bitmap of the rows that were set; empty: all."""
        if Unset not in set(map(type, self.values)):
            return b""
        return bitmap(bytes([value is not UNSET for value in self.values]))

    def vector(self, present: bytes = b"") -> Vector:
        """As the host wants it. What is not set counts as NULL, which says nothing where it is absent, too."""
        nulls, values = b"", self.values
        if set(map(type, values)) != {self.type}:
            nulls = bitmap(bytes([value is not None and value is not UNSET for value in values]))
            rest = self.type()
            values = [rest if value is None or value is UNSET else value for value in values]
        return Vector(self.kind, nulls, present, self._buffer(values))

    def _buffer(self, values: list[Any]) -> Any:
        if self.type is str or self.type is bytes:
            return packed(values)
        if self.type is bool:
            return Buffer_Bits(bitmap(bytes(values)))
        words = "d" if self.type is float else "Q" if self.kind == UINT64 else "q"
        try:
            return Buffer_Words(array(words, values).tobytes())
        except OverflowError:
            raise ValueError(f"column `{self.name}` is {KINDS[self.kind]}; a value does not fit") from None
