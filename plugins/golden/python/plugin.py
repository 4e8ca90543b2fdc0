"""The golden plugin: ../README.md says what it does, ../cases.json holds it. Each row says in `todo` what is to be done with it."""

from tidegate_plugin import Batch, Column, Derivation, Plan, PluginError, Relation, Row, log


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        if "table" not in config:
            raise PluginError("`table` is missing")
        self.table = config["table"]
        self.prefix = config.get("prefix", "")

    def bind(self, table: Relation) -> Plan | None:
        if table.name != self.table:
            return None
        if table.column("todo") is None:
            raise PluginError("no column `todo`")
        plan = Plan().reads(*(column.name for column in table.columns))
        plan.reads_metadata("position", "place", "transaction", "commit-time")
        for column in copied(table):
            plan.adds(f"{column.name}_copy", column.kind)
        plan.adds("absent", "text").adds("op_seen", "text").adds("seen_at", "text")
        if table.column("dropped"):
            plan.drops("dropped")
        if table.column("renamed"):
            plan.renames("renamed", "renamed_new")
        return plan.derives(Derivation(made(table)).key("id", "int64").key("n", "int64").column("note", "text"))

    def process(self, batch: Batch) -> None:
        if all(todo == "constant" for todo in batch["todo"]):
            batch.set_all("op_seen", "same")
            return
        for row in batch.rows:
            row["op_seen"] = row.op
            self.act(row, batch.relation)

    def act(self, row: Row, table: Relation) -> None:
        match row["todo"]:
            case "copy":
                for column in copied(table):
                    if row.has(column.name):
                        row[f"{column.name}_copy"] = row[column.name]
                row["absent"] = ",".join(column.name for column in table.columns if not row.has(column.name))
            case "metadata":
                position, transaction, commit_time = (row.metadata(word) for word in ("position", "transaction", "commit-time"))
                row["seen_at"] = f"{position} {transaction or 'none'} {commit_time}"
            case "drop":
                row.drop()
            case "fail":
                row.fail(f"row failed: {self.prefix}")
            case "null":
                for column in copied(table):
                    row[f"{column.name}_copy"] = None
            case "route":
                row.route(f"{self.prefix}.one")
            case "both":
                row.route(f"{self.prefix}.one", f"{self.prefix}.two")
            case "delete":
                row.set_op("delete")
            case "keep":
                row.set_op("update")
            case "derive":
                row.derive(made(table), {"id": row["id"], "n": 0, "note": "a"})
                row.derive(made(table), {"id": row["id"], "n": 1, "note": None})
            case "underive":
                row.derive(made(table), {"id": row["id"], "n": 0}, op="delete")
            case "throw":
                raise RuntimeError("thrown")
            case "error":
                raise PluginError("refused")
            case "log":
                log.info("logged")


def copied(table: Relation) -> list[Column]:
    return [column for column in table.columns if column.name != "todo" and column.name not in table.key]


def made(table: Relation) -> str:
    return f"{table.schema}.golden_made"
