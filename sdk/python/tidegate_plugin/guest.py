"""A plugin as the component's exports: what the host calls, and what becomes of exceptions."""

import json
from typing import Any

from componentize_py_types import Err
from wit_world.exports import transform as wit
from wit_world.imports import types as wire

from .batch import Batch, Bound
from .errors import PluginError
from .plan import Plan
from .relation import Relation


class Running:
    """A plugin and the relations that it is bound to."""

    def __init__(self, plugin: type) -> None:
        self.type = plugin
        self.plugin: Any = None
        self.bound: dict[int, Bound] = {}
        self.batch: Batch | None = None

    def configure(self, config: str) -> None:
        self.plugin = self.type(json.loads(config))

    def bind(self, relation: wire.Relation) -> wit.Plan | None:
        seen = Relation._of(relation)
        plan = self.plugin.bind(seen)
        if plan is None:
            return None
        if not isinstance(plan, Plan):
            raise TypeError("bind returns a Plan, or None")
        finished = plan._finish(seen)
        self.bound[seen.id] = Bound(seen, finished)
        return finished

    def process(self, relation: int, rows: wire.Batch) -> wit.Outcome:
        self.batch = Batch(self.bound[relation], rows)
        self.plugin.process(self.batch)
        outcome = self.batch._finish()
        self.batch = None
        return outcome


def readable(thrown: Exception, row: int | None) -> str:
    """The text of what was thrown, with the plugin's own files and lines. Not by `traceback`: it looks for the files, which a component cannot."""
    if isinstance(thrown, PluginError):
        return str(thrown)
    places = []
    frames = thrown.__traceback__
    while frames:
        code = frames.tb_frame.f_code
        # A component has its modules in folders that are numbered, as those of the search path.
        file = code.co_filename.lstrip("/").removeprefix("0/")
        if "tidegate_plugin/" not in file:
            places.append(f"{file}:{frames.tb_lineno} in {code.co_name}")
        frames = frames.tb_next
    # The innermost first; of a deep recursion, only the end.
    places = places[::-1][:10]
    if row is not None:
        places.append(f"row {row} of the batch")
    where = f" (at {', '.join(places)})" if places else ""
    return f"{type(thrown).__name__}: {thrown}{where}"


def transform(plugin: type) -> type:
    """The component's exports on behalf of a plugin."""
    running = Running(plugin)

    def guarded(call: Any) -> Any:
        def guard(_: Any, *args: Any) -> Any:
            try:
                return call(*args)
            except Exception as thrown:
                row = running.batch._at if running.batch else None
                running.batch = None
                raise Err(readable(thrown, row)) from None

        return guard

    calls = {"configure": running.configure, "bind": running.bind, "process": running.process}
    return type("Transform", (), {name: guarded(call) for name, call in calls.items()})
