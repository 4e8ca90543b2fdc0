"""Entries of Tidegate's log. Never log row values. Outside of a component, in unit tests, they go to stderr."""

import sys

from wit_world.imports import host


def debug(message: str) -> None:
    _write(host.Level.DEBUG, message)


def info(message: str) -> None:
    _write(host.Level.INFO, message)


def warn(message: str) -> None:
    _write(host.Level.WARN, message)


def error(message: str) -> None:
    _write(host.Level.ERROR, message)


def _write(level: host.Level, message: str) -> None:
    try:
        host.log(level, str(message))
    except NotImplementedError:
        print(f"{level.name.lower()}: {message}", file=sys.stderr)
