"""The words of the interface and their codes."""

# What a column holds, by code.
KINDS = ("boolean", "int64", "uint64", "float64", "text", "bytes", "decimal", "json", "date", "time", "datetime", "timestamp")
BOOLEAN, INT64, UINT64, FLOAT64, TEXT, BYTES, DECIMAL, JSON, DATE, TIME, DATETIME, TIMESTAMP = range(12)
TEXTS = frozenset({TEXT, DECIMAL, JSON})

# What happened to a row, by code.
OPS = ("insert", "update", "delete", "snapshot")
DELETE = 2

# Row metadata that a plan can ask for, by code.
METADATA = ("position", "place", "transaction", "commit-time")

AFTER, BEFORE = 0, 1


def code(words: tuple[str, ...], word: str, what: str) -> int:
    """The code of a word; the error names what it is the word of."""
    if word not in words:
        raise ValueError(f"{what} {word!r}: it is one of {', '.join(words)}")
    return words.index(word)
