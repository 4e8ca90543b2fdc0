"""A batch of rows of one relation: read it by column or by row; what is to be changed is collected and handed back at the end."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from wit_world.exports import transform as wit
from wit_world.imports import types as wire

from .derived import Made
from .kinds import AFTER, BEFORE, DELETE, KINDS, METADATA, OPS, TEXTS, code
from .outcome import Patches, constant
from .relation import Relation
from .row import Row
from .vector import Buffers, bit, buffers, packed, rewritten, values

# Which image of a row: own is after the change, or before it where the row was deleted.
SIDES = ("own", "after", "before")


class Bound:
    """A relation and what was asked of it."""

    def __init__(self, relation: Relation, plan: wit.Plan) -> None:
        self.relation = relation
        self.plan = plan
        # Index and kind by name: the columns of the relation, then those added.
        self.columns = {c.name: (at, KINDS.index(c.kind)) for at, c in enumerate(relation.columns)}
        self.columns |= {add.name: (len(relation.columns) + at, add.kind) for at, add in enumerate(plan.adds)}
        # By column, what `set_all` has set last.
        self.constants: dict[str, tuple[Any, wire.Vector]] = {}
        self.reads = {r.index: (r.after is not wit.Want.NO, r.before is not wit.Want.NO) for r in plan.reads}

    def column(self, name: str) -> tuple[int, int]:
        """Index and kind."""
        found = self.columns.get(name)
        if found is None:
            raise LookupError(f"{self.relation.name} has no column `{name}`")
        return found


class Values(dict[str, list[Any]]):
    """The values of one side by column, made when they are first read."""

    def __init__(self, batch: "Batch", side: str) -> None:
        self.batch, self.side = batch, side

    def __missing__(self, name: str) -> list[Any]:
        found = self[name] = self.batch._read(name, self.side)
        return found


class Views(dict[str, Values]):
    """The values by side."""

    def __init__(self, batch: "Batch") -> None:
        self.batch = batch

    def __missing__(self, side: str) -> Values:
        found = self[side] = Values(self.batch, side)
        return found


class Batch:
    """At least one row of a relation, in source order."""

    def __init__(self, bound: Bound, batch: wire.Batch) -> None:
        self._bound = bound
        self._wire = batch
        self._ops = batch.ops
        self._has_deletes = DELETE in batch.ops
        self._vectors = {(c.index, c.image): c.vector for c in batch.columns}
        self._values = Views(self)
        self._metadata: dict[str, list[Any]] = {}
        self._patches = Patches(batch.rows, bound)
        self._made = {f"{d.schema}.{d.table}": Made(d) for d in bound.plan.derives}
        # The row that the row view is at.
        self._at: int | None = None

    @property
    def relation(self) -> Relation:
        return self._bound.relation

    def __len__(self) -> int:
        return self._wire.rows

    def op(self, row: int) -> str:
        return OPS[self._ops[row]]

    @property
    def rows(self) -> Iterator[Row]:
        """The rows, one by one."""
        for index in range(self._wire.rows):
            self._at = index
            yield Row(self, index, "own")
        self._at = None

    def row(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return Row(self, index, "own")

    def _images(self, name: str, side: str) -> tuple[wire.Vector | None, wire.Vector | None]:
        """The vectors that count: for rows that are not deleted, and for those that are."""
        index, _ = self._bound.column(name)
        if index not in self._bound.reads:
            raise LookupError(f"the plan does not read the column `{name}`")
        has_after, has_before = self._bound.reads[index]
        if (side == "after" and not has_after) or (side == "before" and not has_before):
            raise LookupError(f"the plan does not read the column `{name}` {side} the change")
        after, before = self._vectors.get((index, AFTER)), self._vectors.get((index, BEFORE))
        if side == "own":
            return after, before
        return (after, after) if side == "after" else (before, before)

    def _read(self, name: str, side: str) -> list[Any]:
        rows = len(self)
        after, before = ([None] * rows if v is None else values(v, rows) for v in self._images(name, side))
        if side != "own" or not self._has_deletes:
            return after
        return [b if op == DELETE else a for op, a, b in zip(self._ops, after, before)]

    def _has(self, row: int, name: str, side: str) -> bool:
        after, before = self._images(name, side)
        vector = before if self._ops[row] == DELETE else after
        return vector is not None and (not vector.present or bit(vector.present, row))

    def values(self, name: str, side: str = "own") -> list[Any]:
        """A column, one value a row, as `row[name]` gives them. Do not change the list."""
        if side not in SIDES:
            raise ValueError(f"side {side!r}: it is one of {', '.join(SIDES)}")
        return self._values[side][name]

    def __getitem__(self, name: str) -> list[Any]:
        """The same as `batch.values(name)`."""
        return self._values["own"][name]

    def metadata(self, word: str) -> list[Any]:
        found = self._metadata.get(word)
        if found is None:
            at = self._bound.plan.metadata.find(code(METADATA, word, "metadata"))
            if at < 0:
                raise LookupError(f"the plan does not read the metadata {word}")
            found = self._metadata[word] = values(self._wire.metadata[at], len(self))
        return found

    def buffers(self, name: str, image: str = "after") -> Buffers | None:
        """One image of a column as bytes; None: the batch does not have it. Slicing and translating these takes a tenth of what a loop takes."""
        if image not in ("after", "before"):
            raise ValueError(f"image {image!r}: it is after or before")
        found, _ = self._images(name, image)
        return None if found is None else buffers(found, len(self))

    def keep(self, keep: Iterable[Any]) -> None:
        """One answer a row (in bytes: a byte a row): those of false are dropped."""
        self._patches.keep(keep)

    def route_all(self, *topics: str) -> None:
        """Sends every row to these topics, but those that are routed one by one."""
        self._patches.all = list(topics)

    def route_each(self, topics: Iterable[str | None]) -> None:
        """One topic a row; None: it stays."""
        self._patches.route_each(topics)

    def route_among(self, topics: Sequence[str], which: Iterable[int]) -> None:
        """To one of these topics each: which of them, one number a row (in bytes: a byte a row)."""
        self._patches.route_among(topics, which)

    def set_all(self, name: str, value: Any) -> None:
        """The same value in every row, after the change."""
        index, kind = self._bound.column(name)
        # Mostly it is the text of the batch before.
        last, made = self._bound.constants.get(name, (None, None))
        if made is None or last.__class__ is not str or last != value:
            made = constant(kind, name, value)
            self._bound.constants[name] = (value, made)
        self._patches.assign(index, AFTER, wit.Values_Constant(made))

    def set_each(self, name: str, values: Iterable[Any]) -> None:
        """One value a row, after the change; None is NULL."""
        self._patches.cells[AFTER][name].set_each(values)

    def rewrite_texts(self, name: str, rewrite: Callable[[str], str]) -> None:
        """Replaces the texts of a column in both images, so that no old value gets past. NULL stays NULL and what is absent stays absent."""
        index, kind = self._bound.column(name)
        if kind not in TEXTS:
            raise TypeError(f"column `{name}` is {KINDS[kind]}, which is not text")
        for image in (AFTER, BEFORE):
            vector = self._vectors.get((index, image))
            if vector is None:
                continue
            old = values(vector, len(self))
            texts = [rewrite(text) for text in old] if not vector.nulls else ["" if text is None else rewrite(text) for text in old]
            made = wire.Vector(kind, vector.nulls, vector.present, packed(texts))
            self._patches.assign(index, image, wit.Values_Each(made))

    def rewrite_buffers(self, name: str, rewrite: Callable[[Buffers], Buffers]) -> None:
        """Replaces the values of a column in both images, as `buffers` has them. NULL stays NULL and what is absent stays absent."""
        index, _ = self._bound.column(name)
        for image in (AFTER, BEFORE):
            old = self._vectors.get((index, image))
            if old is not None:
                self._patches.assign(index, image, wit.Values_Each(rewritten(old, rewrite(buffers(old, len(self))))))

    def _derive(self, origin: int, table: str, values: Mapping[str, Any], op: str, before: Mapping[str, Any]) -> None:
        made = self._made.get(table)
        if made is None:
            raise LookupError(f"the plan does not derive the table `{table}`")
        made.add(origin, code(OPS, op, "operation"), values, before)

    def _finish(self) -> wit.Outcome:
        return self._patches.finish([made.finish(at) for at, made in enumerate(self._made.values()) if made.rows])
