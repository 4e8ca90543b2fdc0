"""The patches that a batch collects, as the host wants them."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from wit_world.exports import transform as wit
from wit_world.imports.types import Vector

from .kinds import AFTER, BEFORE
from .vector import Cells, bitmap

# Index that leaves a row's topics as they are.
UNROUTED = 0xFFFF
# Any other byte than 0 is true.
TRUTH = b"\0" + b"\1" * 255


class Columns(dict[str, Cells]):
    """The cells of the columns of one image, made when they are first set."""

    def __init__(self, rows: int, bound: Any) -> None:
        self.rows, self.bound = rows, bound

    def __missing__(self, name: str) -> Cells:
        cells = self[name] = Cells(self.rows, self.bound.column(name)[1], name)
        return cells


class Lists(dict[str | None, int]):
    """The list of a single topic; None: it stays."""

    def __init__(self, patches: "Patches") -> None:
        super().__init__({None: UNROUTED})
        self.patches = patches

    def __missing__(self, topic: str) -> int:
        found = self[topic] = self.patches.list_of((topic,))
        return found


class Patches:
    def __init__(self, rows: int, bound: Any) -> None:
        self.rows, self.bound = rows, bound
        self.kept: bytearray | None = None
        self.ops = bytearray()
        self.ready: list[wit.Assign] = []
        # By image code.
        self.cells = (Columns(rows, bound), Columns(rows, bound))
        self.lists: dict[tuple[str, ...], int] = {}
        self.routes: array[int] | None = None
        self.all: list[str] | None = None
        self.errors: list[wit.RowError] = []

    def drop(self, row: int) -> None:
        if self.kept is None:
            self.kept = bytearray(b"\1" * self.rows)
        self.kept[row] = 0

    def keep(self, keep: Iterable[Any]) -> None:
        kept = bytearray(keep.translate(TRUTH) if isinstance(keep, bytes | bytearray) else map(bool, keep))
        if len(kept) != self.rows:
            raise ValueError(f"{len(kept)} answers for {self.rows} rows")
        self.kept = kept if self.kept is None else bytearray(a & b for a, b in zip(self.kept, kept))

    def set_op(self, row: int, code: int, ops: bytes) -> None:
        if not self.ops:
            self.ops = bytearray(ops)
        self.ops[row] = code

    def assign(self, index: int, image: int, values: wit.Values) -> None:
        self.ready.append(wit.Assign(index, image, b"", values))

    def route(self, row: int, topics: tuple[str, ...]) -> None:
        if self.routes is None:
            self.routes = array("H", [UNROUTED]) * self.rows
        self.routes[row] = self.list_of(topics)

    def route_each(self, topics: Iterable[str | None]) -> None:
        self.route_rows(array("H", map(Lists(self).__getitem__, topics)))

    def route_among(self, topics: Sequence[str], which: Iterable[int]) -> None:
        if isinstance(which, bytes | bytearray):
            wide = bytearray(len(which) * 2)
            wide[::2] = which
            routes = array("H", wide)
        else:
            routes = array("H", list(which))
        if routes and max(routes) >= len(topics):
            raise ValueError(f"topic {max(routes)} of {len(topics)}")
        lists = dict(zip(zip(topics), range(len(topics))))
        if not self.lists and len(lists) == len(topics) < UNROUTED:
            # The first lists, in the order of the topics.
            self.lists = lists
        else:
            routes = array("H", map([self.list_of((topic,)) for topic in topics].__getitem__, routes))
        self.route_rows(routes)

    def route_rows(self, routes: "array[int]") -> None:
        if len(routes) != self.rows:
            raise ValueError(f"{len(routes)} topics for {self.rows} rows")
        if self.routes is not None:
            routes = array("H", [old if new == UNROUTED else new for old, new in zip(self.routes, routes)])
        self.routes = routes

    def list_of(self, topics: tuple[str, ...]) -> int:
        at = self.lists.setdefault(topics, len(self.lists))
        if at >= UNROUTED:
            raise ValueError(f"one batch can name {UNROUTED} lists of topics")
        return at

    def routing(self) -> wit.Routing:
        if self.routes is None:
            return wit.Routing_Unchanged() if self.all is None else wit.Routing_All(self.all)
        if self.all is not None:
            rest = self.list_of(tuple(self.all))
            self.routes = array("H", [rest if at == UNROUTED else at for at in self.routes])
        return wit.Routing_ByRow(wit.ByRow(list(map(list, self.lists)), self.routes.tobytes()))

    def finish(self, derived: list[wit.Derived]) -> wit.Outcome:
        assigns = self.ready
        for image in (AFTER, BEFORE):
            for name, cells in self.cells[image].items():
                index = self.bound.column(name)[0]
                assigns.append(wit.Assign(index, image, cells.set_rows(), wit.Values_Each(cells.vector())))
        keep = b"" if self.kept is None else bitmap(self.kept)
        return wit.Outcome(keep, bytes(self.ops), assigns, self.routing(), self.errors, derived, [])


def constant(kind: int, name: str, value: Any) -> Vector:
    """A vector of one row."""
    cells = Cells(1, kind, name)
    cells.set(0, value)
    return cells.vector()
