"""Tables as a plugin sees them."""

from dataclasses import dataclass

from wit_world.imports import types as wire

from .kinds import KINDS


@dataclass(frozen=True)
class Column:
    name: str
    # One of `kinds.KINDS`.
    kind: str
    nullable: bool
    # As the source's DDL writes it: `varchar(55)`; empty for a column that a plugin added.
    source_type: str


@dataclass(frozen=True)
class Relation:
    """A table as seen at one position. When its columns change, there is another one."""

    id: int
    schema: str
    table: str
    columns: tuple[Column, ...]
    # The names of the key columns, in key order; empty: the table has no key.
    key: tuple[str, ...]

    @staticmethod
    def _of(relation: wire.Relation) -> "Relation":
        columns = tuple(Column(c.name, KINDS[c.kind], c.nullable, c.source_type) for c in relation.columns)
        key = tuple(columns[at].name for at in relation.key)
        return Relation(relation.id, relation.schema, relation.table, columns, key)

    @property
    def name(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.table}"

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def matches(self, pattern: str) -> bool:
        """True for `schema.table`, `table`, `schema.*` and `*`."""
        schema, dot, table = pattern.partition(".")
        if not dot:
            schema, table = "*", pattern
        return schema in ("*", self.schema) and table in ("*", self.table)
