"""For unit tests of plugins: runs one in this interpreter, without WebAssembly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wit_world.exports import transform as wit
from wit_world.imports import types as wire

from . import state
from .guest import Running
from .kinds import AFTER, BEFORE, KINDS, METADATA, OPS, TEXT, TIMESTAMP, UINT64, code
from .vector import Cells, bit, values

Values = Mapping[str, Any]
METADATA_KINDS = (TEXT, UINT64, TEXT, TIMESTAMP)


def table(name: str, columns: Mapping[str, str], key: int = 1) -> wire.Relation:
    """A table `schema.table` with its columns by name and kind; the first `key` of them are its key."""
    schema, _, table = name.partition(".")
    defs = [wire.ColumnDef(name, code(KINDS, kind, f"kind of column `{name}`"), True, kind, []) for name, kind in columns.items()]
    return wire.Relation(0, schema, table, defs, list(range(key)), [])


@dataclass(frozen=True)
class Change:
    """Values by column name; what is left out is absent."""

    op: str
    before: Values | None
    after: Values | None


def insert(after: Values) -> Change:
    return Change("insert", None, after)


def update(before: Values, after: Values) -> Change:
    return Change("update", before, after)


def delete(before: Values) -> Change:
    return Change("delete", before, None)


def snapshot(after: Values) -> Change:
    return Change("snapshot", None, after)


@dataclass
class Derived:
    """A row that the plugin made; the images have what was set."""

    table: str
    op: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass
class Outcome:
    """What the plugin made of a change."""

    op: str
    # The values by column name, those set by the plugin with them; what is absent is not there.
    before: dict[str, Any]
    after: dict[str, Any]
    dropped: bool = False
    # None: the topic of its table.
    topics: list[str] | None = None
    # The message of `Row.fail`.
    error: str | None = None
    derived: list[Derived] = field(default_factory=list)


class Tester:
    """One instance of a plugin, with a state that is empty."""

    def __init__(self, plugin: type, config: Any = None) -> None:
        state._forget()
        self._running = Running(plugin)
        self._running.configure(json.dumps({} if config is None else config))
        self._relations = 0

    def run(self, table: wire.Relation, changes: list[Change], metadata: Values = {}) -> list[Outcome]:
        """Binds the table and passes the changes (at least one) as one batch. A table that does not concern the plugin comes back as it was;
        operations and columns that the plan does not ask for are not passed. `metadata`: the same for all rows."""
        outcomes = [Outcome(c.op, dict(c.before or {}), dict(c.after or {})) for c in changes]
        self._relations += 1
        relation = wire.Relation(self._relations, table.schema, table.table, table.columns, table.key, [])
        plan = self._running.bind(relation)
        passed = [] if plan is None else [at for at, change in enumerate(changes) if OPS.index(change.op) in plan.ops]
        if plan is None or not passed:
            return outcomes
        answer = self._running.process(relation.id, _batch(relation, plan, [changes[at] for at in passed], metadata))
        names = [c.name for c in (*relation.columns, *plan.adds)]
        for row, at in enumerate(passed):
            _apply(outcomes[at], row, len(passed), answer, names, plan.derives)
        return outcomes


def _vector(found: list[Any], is_present: list[bool], kind: int, name: str) -> wire.Vector:
    cells = Cells(len(found), kind, name)
    for row, value in enumerate(found):
        if is_present[row]:
            cells.set(row, value)
    return cells.vector(cells.set_rows())


def _batch(relation: wire.Relation, plan: wit.Plan, changes: list[Change], metadata: Values) -> wire.Batch:
    """The batch that a host would pass."""
    columns = []
    for image in (AFTER, BEFORE):
        images = [change.after if image == AFTER else change.before for change in changes]
        for read in plan.reads:
            want = read.after if image == AFTER else read.before
            if want is wit.Want.NO or (image == BEFORE and all(values is None for values in images)):
                continue
            column = relation.columns[read.index]
            present = [values is not None and column.name in values for values in images]
            found = [values.get(column.name) if values is not None else None for values in images]
            columns.append(wire.Column(read.index, image, _vector(found, present, column.kind, column.name)))
    rows = len(changes)
    passed = [_vector([metadata.get(METADATA[c])] * rows, [True] * rows, METADATA_KINDS[c], METADATA[c]) for c in plan.metadata]
    return wire.Batch(rows, bytes([OPS.index(change.op) for change in changes]), columns, passed)


def _apply(outcome: Outcome, row: int, rows: int, answer: wit.Outcome, names: list[str], tables: list[wit.Derivation]) -> None:
    """What the answer says about its row."""
    if answer.ops:
        outcome.op = OPS[answer.ops[row]]
    outcome.dropped = bool(answer.keep) and not bit(answer.keep, row)
    for assign in answer.assigns:
        if assign.rows and not bit(assign.rows, row):
            continue
        vector = assign.values.value
        is_constant = isinstance(assign.values, wit.Values_Constant)
        # What is absent is not given a value by a rewrite.
        if not vector.present or bit(vector.present, row):
            image = outcome.after if assign.image == AFTER else outcome.before
            image[names[assign.index]] = values(vector, 1)[0] if is_constant else values(vector, rows)[row]
    if isinstance(answer.routing, wit.Routing_All):
        outcome.topics = answer.routing.value
    if isinstance(answer.routing, wit.Routing_ByRow):
        by_row = answer.routing.value
        at = int.from_bytes(by_row.rows[row * 2 : row * 2 + 2], "little")
        outcome.topics = by_row.lists[at] if at < len(by_row.lists) else None
    outcome.error = next((error.message for error in answer.errors if error.row == row), None)
    for derived in answer.derived:
        origins = memoryview(derived.origins).cast("I").tolist()
        of = tables[derived.derivation]
        for at in (at for at, origin in enumerate(origins) if origin == row):
            made = Derived(f"{of.schema}.{of.table}", OPS[derived.ops[at]], {}, {})
            for column in derived.columns:
                if not column.vector.present or bit(column.vector.present, at):
                    image = made.after if column.image == AFTER else made.before
                    image[of.columns[column.index].name] = values(column.vector, len(origins))[at]
            outcome.derived.append(made)
