"""What a plugin remembers: a map of bytes to bytes, one for each lane, that outlives a crash, a reload and a restart. After those it is as it was when the
last rows were settled, and the rows after those come again. What `process` changed counts if it succeeds.

It is there in `process` alone, and bounded: `state` of the plugin in the manifest. A call costs more than a value, so ask for many keys at once where
there are many rows. What the host refuses raises a `PluginError`, and changes nothing. A text stands for its UTF-8. Outside of a component, in unit
tests, a dict takes its place; a new `Tester` empties it."""

from collections.abc import Callable, Iterable
from typing import Any

from componentize_py_types import Err
from wit_world.imports import state as wit

from .errors import PluginError

_REFUSALS = {
    wit.Refusal.NOT_NOW: "the state is there in `process` alone",
    wit.Refusal.KEY_LENGTH: "a key of the state must have 1 to 1024 bytes",
    wit.Refusal.VALUE_LENGTH: "a value of the state may have 65536 bytes",
    wit.Refusal.FULL: "the state is full: `state` of this plugin in the manifest limits it",
    wit.Refusal.TOO_MUCH: "more values of the state were asked for at once than an answer may hold",
}


def get(key: bytes | str) -> bytes | None:
    """None: there is none."""
    return get_all([key])[0]


def get_all(keys: Iterable[bytes | str]) -> list[bytes | None]:
    """The values of the keys, in their order."""
    wanted = [_bytes(key) for key in keys]
    return _asked(lambda: wit.get(wanted), lambda: [_remembered.get(key) for key in wanted])


def set(key: bytes | str, value: bytes | str) -> None:
    put([(key, value)])


def delete(key: bytes | str) -> None:
    put([(key, None)])


def put(changes: Iterable[tuple[bytes | str, bytes | str | None]]) -> None:
    """All of the changes, in their order, or none of them; None takes a key away."""
    wire = [wit.Change(_bytes(key), None if value is None else _bytes(value)) for key, value in changes]

    def in_memory() -> None:
        for change in wire:
            if change.value is None:
                _remembered.pop(change.key, None)
            else:
                _remembered[change.key] = change.value

    _asked(lambda: wit.put(wire), in_memory)


def scan(start: bytes | str, entries_max: int) -> list[tuple[bytes, bytes]]:
    """Entries in the order of their keys, from the first that is not less than `start`: at most so many, and fewer where they are long, but at least
    one if there is one."""
    first = _bytes(start)
    found = _asked(
        lambda: [(entry.key, entry.value) for entry in wit.scan(first, entries_max)],
        lambda: sorted(entry for entry in _remembered.items() if entry[0] >= first)[:entries_max],
    )
    return found


_remembered: dict[bytes, bytes] = {}


def _forget() -> None:
    """A test begins."""
    _remembered.clear()


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _asked(host: Callable[[], Any], in_memory: Callable[[], Any]) -> Any:
    try:
        return host()
    except NotImplementedError:
        return in_memory()
    except Err as refused:
        raise PluginError(_REFUSALS[refused.value]) from None
