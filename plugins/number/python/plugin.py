"""Numbers the changes of each row, as ../src/lib.rs does; either goes on where the other stopped."""

from tidegate_plugin import Batch, Plan, PluginError, Relation, state


class Plugin:
    def __init__(self, config: dict) -> None:
        if "tables" not in config or "column" not in config:
            raise PluginError("`tables` or `column` is missing")
        self.tables: list[str] = config["tables"]
        self.column: str = config["column"]

    def bind(self, table: Relation) -> Plan | None:
        if f"{table.schema}.{table.table}" not in self.tables:
            return None
        if not table.key:
            raise PluginError("it has no key, so its rows cannot be told apart")
        return Plan().reads(*table.key).adds(self.column, "int64")

    def process(self, batch: Batch) -> None:
        relation = batch.relation
        rows = zip(*(batch[name] for name in relation.key))
        keys = [joined(relation.schema, relation.table, *row) for row in rows]
        # Each key once, though several rows may have it.
        last = {key: number(value) if value else None for key, value in zip(keys, state.get_all(keys))}
        for row in batch.rows:
            key = keys[row.index]
            if row.op == "delete":
                last[key] = None
                continue
            last[key] = row[self.column] = (last[key] or 0) + 1 if row.op == "update" else 1
        state.put((key, None if count is None else word(count)) for key, count in last.items())


def joined(*parts: int | str | bytes | None) -> bytes:
    """The parts, each with its length in front."""
    made = b""
    for part in parts:
        own = word(part) if isinstance(part, int) else part.encode() if isinstance(part, str) else part or b""
        made += len(own).to_bytes(4, "little") + own
    return made


def word(value: int) -> bytes:
    return (value % 2**64).to_bytes(8, "little")


def number(value: bytes) -> int:
    return int.from_bytes(value, "little", signed=True)
