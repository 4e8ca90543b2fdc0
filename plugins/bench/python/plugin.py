"""The same as ../src/lib.rs, which says what it is for."""

from tidegate_plugin import Batch, Plan, Relation

TOPICS = [f"part-{at}" for at in range(8)]


class Plugin:
    def __init__(self, config: dict[str, str]) -> None:
        self.filter, self.mask, self.route = config["filter"], config["mask"], config["route"]
        self.view = config.get("view", "columns")

    def bind(self, table: Relation) -> Plan | None:
        if any(table.column(name) is None for name in (self.filter, self.mask, self.route)):
            return None
        return Plan().reads_after(self.filter, self.route).rewrites(self.mask).adds("region", "text")

    def process(self, batch: Batch) -> None:
        if self.view == "rows":
            self.by_row(batch)
        else:
            self.by_column(batch)

    def by_column(self, batch: Batch) -> None:
        batch.keep([value is None or value % 16 != 0 for value in batch[self.filter]])
        batch.rewrite_texts(self.mask, lambda text: text[:1] + "***")
        batch.set_all("region", "eu")
        batch.route_each([TOPICS[(value or 0) % 8] for value in batch[self.route]])

    def by_row(self, batch: Batch) -> None:
        for row in batch.rows:
            filtered = row[self.filter]
            if filtered is not None and filtered % 16 == 0:
                row.drop()
                continue
            text = row[self.mask]
            if text is not None:
                row[self.mask] = text[:1] + "***"
            row["region"] = "eu"
            row.route(TOPICS[(row[self.route] or 0) % 8])
