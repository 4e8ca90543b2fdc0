"""What a plugin wants of one relation."""

from wit_world.exports import transform as wit

from .kinds import KINDS, METADATA, OPS, code
from .relation import Relation

NO, IF_WANTED, YES = wit.Want.NO, wit.Want.IF_WANTED, wit.Want.YES
STRENGTH = [NO, IF_WANTED, YES]


def _addition(name: str, kind: str, nullable: bool) -> wit.Addition:
    return wit.Addition(name, code(KINDS, kind, f"kind of column `{name}`"), nullable, [])


class Derivation:
    """A table of the plugin's making, of which `Row.derive` makes rows."""

    def __init__(self, name: str) -> None:
        """`name`: `schema.table`, which is also the topic of its rows."""
        schema, dot, table = name.partition(".")
        if not dot:
            schema, table = "", name
        self._wire = wit.Derivation(schema, table, [], [], [])

    def column(self, name: str, kind: str) -> "Derivation":
        """A column that may be NULL, or absent."""
        self._wire.columns.append(_addition(name, kind, True))
        return self

    def key(self, name: str, kind: str) -> "Derivation":
        """The next column of the key, which every row sets. Without any, rows can be inserted only."""
        self._wire.key.append(len(self._wire.columns))
        self._wire.columns.append(_addition(name, kind, False))
        return self


class Plan:
    """All operations and no columns, until it is told. Columns are named; a name that the relation does not have is an error of `bind`."""

    def __init__(self) -> None:
        self._ops = [0, 1, 2, 3]
        self._reads: list[tuple[str, wit.Want, wit.Want]] = []
        self._metadata: list[int] = []
        self._adds: list[wit.Addition] = []
        self._drops: list[str] = []
        self._renames: list[tuple[str, str]] = []
        self._derives: list[Derivation] = []

    def ops(self, *ops: str) -> "Plan":
        """Only these operations; rows of others pass by unseen."""
        self._ops = [code(OPS, op, "operation") for op in ops]
        return self

    def reads(self, *names: str) -> "Plan":
        """Reads the row's value whatever happened to it: after an insert or update, before a delete; both images of an update."""
        return self._read(names, YES, YES)

    def reads_after(self, *names: str) -> "Plan":
        return self._read(names, YES, NO)

    def reads_before(self, *names: str) -> "Plan":
        return self._read(names, NO, YES)

    def rewrites(self, *names: str) -> "Plan":
        """Reads in order to replace: the after image, and the before image where something downstream reads it."""
        return self._read(names, YES, IF_WANTED)

    def _read(self, names: tuple[str, ...], after: wit.Want, before: wit.Want) -> "Plan":
        self._reads.extend((name, after, before) for name in names)
        return self

    def reads_metadata(self, *metadata: str) -> "Plan":
        """`position` (text, `file:offset` where the row's transaction begins), `place` (grows within the transaction), `transaction` (text, the
        GTID; None if it has none), `commit-time` (microseconds since the epoch, by the source's clock)."""
        self._metadata.extend(code(METADATA, word, "metadata") for word in metadata)
        return self

    def adds(self, name: str, kind: str) -> "Plan":
        """Adds a column; absent in every row that does not set it."""
        self._adds.append(_addition(name, kind, True))
        return self

    def adds_not_null(self, name: str, kind: str) -> "Plan":
        """Adds a column that every row sets."""
        self._adds.append(_addition(name, kind, False))
        return self

    def drops(self, *names: str) -> "Plan":
        """Leaves columns out. Not key columns. They can still be read."""
        self._drops.extend(names)
        return self

    def renames(self, name: str, to: str) -> "Plan":
        self._renames.append((name, to))
        return self

    def derives(self, table: Derivation) -> "Plan":
        """Declares a table of which `Row.derive` makes rows."""
        self._derives.append(table)
        return self

    def _finish(self, relation: Relation) -> wit.Plan:
        """As the host wants it."""
        indexes = {column.name: at for at, column in enumerate(relation.columns)}

        def index(name: str) -> int:
            if name not in indexes:
                raise ValueError(f"{relation.name} has no column `{name}`")
            return indexes[name]

        reads: dict[int, wit.Read] = {}
        for name, after, before in self._reads:
            read = reads.setdefault(index(name), wit.Read(index(name), NO, NO))
            read.after = max(read.after, after, key=STRENGTH.index)
            read.before = max(read.before, before, key=STRENGTH.index)
        return wit.Plan(
            ops=bytes(self._ops),
            reads=list(reads.values()),
            metadata=bytes(self._metadata),
            layout=wit.TextLayout.PACKED,
            adds=self._adds,
            drops=[index(name) for name in self._drops],
            renames=[wit.Rename(index(name), to) for name, to in self._renames],
            derives=[table._wire for table in self._derives],
            attributes=[],
        )
