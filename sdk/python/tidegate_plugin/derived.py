"""Rows that a plugin makes of others."""

from array import array
from collections.abc import Mapping
from typing import Any

from wit_world.exports import transform as wit
from wit_world.imports.types import Column

from .kinds import AFTER, BEFORE, DELETE
from .vector import Cells

Values = Mapping[str, Any]


class Made:
    """The rows of one derived table that were made of a batch, in the order of their making."""

    def __init__(self, derivation: wit.Derivation) -> None:
        self.name = f"{derivation.schema}.{derivation.table}"
        self.columns = {column.name: (at, column.kind) for at, column in enumerate(derivation.columns)}
        # Origin, operation, and the values by image code.
        self.rows: list[tuple[int, int, tuple[Values, Values]]] = []

    def add(self, origin: int, op: int, values: Values, before: Values) -> None:
        for name in (*values, *before):
            if name not in self.columns:
                raise ValueError(f"the derived table `{self.name}` has no column `{name}`")
        self.rows.append((origin, op, ({}, values) if op == DELETE else (values, before)))

    def finish(self, derivation: int) -> wit.Derived:
        """As the host wants them, by the rows that they come from."""
        rows = sorted(self.rows, key=lambda row: row[0])
        columns = []
        for name, (index, kind) in self.columns.items():
            for image in (AFTER, BEFORE):
                cells = Cells(len(rows), kind, name)
                for at, (_, _, images) in enumerate(rows):
                    if name in images[image]:
                        cells.set(at, images[image][name])
                if not cells.is_empty():
                    columns.append(Column(index, image, cells.vector(cells.set_rows())))
        origins = array("I", [origin for origin, _, _ in rows]).tobytes()
        return wit.Derived(derivation, origins, bytes([op for _, op, _ in rows]), columns)
