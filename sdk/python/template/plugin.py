"""{{name}}: hides e-mail addresses. Config: `{ columns = ["email"] }`."""

from tidegate_plugin import Batch, Plan, PluginError, Relation


class Plugin:
    # Once, with the manifest's `config`. What is raised here is what `tidegate check` shows.
    def __init__(self, config: dict) -> None:
        self.columns: list[str] = config.get("columns", [])
        if not self.columns:
            raise PluginError("`columns` is missing")

    # Once a table: which columns to pass. Others are not even decoded. None: the table does not concern the plugin.
    def bind(self, table: Relation) -> Plan | None:
        columns = [name for name in self.columns if table.column(name)]
        return Plan().rewrites(*columns) if columns else None

    # Both images, column by column: nothing that should be hidden gets past in a before image.
    def process(self, batch: Batch) -> None:
        for name in self.columns:
            if batch.relation.column(name):
                batch.rewrite_texts(name, mask)


def mask(text: str) -> str:
    """`ada@example.com` → `a***@example.com`."""
    _, at, domain = text.rpartition("@")
    return f"{text[:1]}***{at}{domain if at else ''}"
