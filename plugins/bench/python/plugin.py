"""The same as ../src/lib.rs, which says what it is for."""

from itertools import accumulate, pairwise
from operator import itemgetter

from tidegate_plugin import Batch, Buffers, Plan, Relation

TOPICS = [f"part-{at}" for at in range(8)]
# By the lowest byte of an integer, which tells all.
KEEP = bytes(byte % 16 != 0 for byte in range(256))
ROUTE = bytes(byte % 8 for byte in range(256))


def by_byte(column: Buffers, table: bytes, null: int) -> bytes:
    found = column.words[::8].translate(table)
    return found if not column.valid else bytes(byte if valid else null for byte, valid in zip(found, column.valid))


def masked(column: Buffers) -> Buffers:
    """Of each text the first character, and three stars."""
    _, _, offsets, data = column
    if data.isascii() and len(set(offsets)) == len(offsets):
        # None is empty, and a character is a byte.
        rows = len(offsets) - 1
        made = bytearray(b"****" * rows)
        made[::4] = bytes(itemgetter(0, *offsets[:-1])(data)[1:])
        return Buffers(offsets=range(0, len(made) + 1, 4), data=made)
    texts = [(data[start:end].decode()[:1] + "***").encode() for start, end in pairwise(offsets)]
    return Buffers(offsets=[0, *accumulate(map(len, texts))], data=b"".join(texts))


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
        batch.keep(by_byte(batch.buffers(self.filter), KEEP, 1))
        batch.rewrite_buffers(self.mask, masked)
        batch.set_all("region", "eu")
        batch.route_among(TOPICS, by_byte(batch.buffers(self.route), ROUTE, 0))

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
