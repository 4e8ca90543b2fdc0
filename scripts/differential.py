#!/usr/bin/env python3
"""Decodes recorded binlogs with Tidegate, with the server's own `mysqlbinlog -vv`, and with the Rust crate mysql_cdc, and compares them row by
row and value by value.

usage: differential.py [--peer PROGRAM] [--report FILE] TIDEGATE [BINLOG…]

A binlog NAME.binlog has beside it NAME.txt.gz, what mysqlbinlog said of it (default: all of tests/fixtures). Ends with 1 if Tidegate and
mysqlbinlog differ anywhere. With --peer (bench/peers/mysql-cdc) it also lists where mysql_cdc is wrong; --report writes that as Markdown.

What mysqlbinlog prints cannot say everything: it stops in the middle of a row at a VECTOR, prints ENUM and SET as numbers, and text in the
bytes of its own character set. Such values are counted and left out.
"""

import argparse
import base64
import gzip
import ipaddress
import json
import re
import struct
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

# Tidegate's exit code for what cannot be read.
SOURCE_STOPPED = 3
FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"
SKIP = object()

ROW = re.compile(rb"^### (INSERT INTO|UPDATE|DELETE FROM) `((?:[^`]|``)*)`\.`((?:[^`]|``)*)`$")
VALUE = re.compile(rb"^###   @(\d+)=(.*?) /\* ([A-Za-z_]+(?:/[A-Z]+)?(?:\([^)]*\))?).*\*/$", re.S)
OPS = {b"INSERT INTO": "insert", b"UPDATE": "update", b"DELETE FROM": "delete"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the program of bench/peers/mysql-cdc")
    parser.add_argument("--report", type=Path, help="Markdown file to write")
    parser.add_argument("tidegate")
    parser.add_argument("binlogs", nargs="*", type=Path)
    arguments = parser.parse_args()
    failed, sections = False, []
    for binlog in arguments.binlogs or sorted(FIXTURES.glob("*.binlog")):
        theirs = rows_of_mysqlbinlog(gzip.decompress(binlog.with_suffix(".txt.gz").read_bytes()))
        ours, stop = rows_of_tidegate(arguments.tidegate, binlog)
        ours = joined(ours, theirs)
        if stop:
            # What cannot be read exactly is not read: what was before it must be all.
            print(f"{binlog.name}: Tidegate stops at {stop}")
            theirs = theirs[: len(ours)]
        compared, left_out, wrong = compare(ours, theirs)
        print(f"{binlog.name}: {len(ours)} rows, {compared} values equal to mysqlbinlog's, {left_out} that it cannot tell")
        for line in wrong[:20]:
            print(f"  {line}")
        failed |= bool(wrong)
        if arguments.peer:
            sections.append((binlog.name, len(ours), *of_peer(arguments.peer, binlog, ours)))
    for name, rows, found, problems in sections:
        print(f"mysql_cdc, {name}: {found} of {rows} rows; " + ("; ".join(f"{n}x {what}" for what, n in problems) or "all right"))
    if arguments.report:
        arguments.report.write_text(report(sections), encoding="utf-8")
    sys.exit(1 if failed else 0)


def rows_of_tidegate(program, binlog):
    """All rows in source order: (op, table, before, after), images as name → value; and why it stopped before the end, if it did."""
    with tempfile.TemporaryDirectory() as folder:
        # Binlog files have numbers.
        (Path(folder) / "recorded.000001").write_bytes(binlog.read_bytes())
        manifest = Path(folder) / "tidegate.toml"
        manifest.write_text(
            '[source.recorded]\ntype = "binlog-files"\npaths = ["recorded.000001"]\ntables = ["*.*"]\nstart = "earliest"\n'
            '[sink.rows]\ntype = "jsonl"\npath = "rows.jsonl"\n'
            '[pipeline.rows]\nsource = "recorded"\nsink = "rows"\nordering = "global"\n'
        )
        run = subprocess.run([program, "run", str(manifest)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if run.returncode not in (0, SOURCE_STOPPED):
            raise SystemExit(f"{binlog.name}: {run.stderr}")
        stop = re.search(r"because: recorded\.000001:(.*)", run.stderr)
        lines = (Path(folder) / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    changes = [json.loads(line, parse_float=str) for line in lines]
    return [(c["op"], f"{c['schema']}.{c['table']}", c.get("before"), c.get("after")) for c in changes], stop and stop[1]


def joined(ours, theirs):
    """A key that changes is a delete and an insert in Tidegate: one update again, where mysqlbinlog has one."""
    rows, at = [], 0
    for op, table, *_ in theirs:
        pair = ours[at : at + 2]
        if op == "update" and [row[:2] for row in pair] == [("delete", table), ("insert", table)]:
            rows.append((op, table, pair[0][2], pair[1][3]))
            at += 2
        else:
            rows += pair[:1]
            at += 1
    return rows + ours[at:]


def rows_of_mysqlbinlog(text):
    """All rows: (op, table, before, after), images as column number → (type, printed value)."""
    rows, image = [], None
    lines = iter(text.split(b"\n"))
    for line in lines:
        head = ROW.match(line)
        if head:
            op, schema, table = OPS[head[1]], *(head[i].decode().replace("``", "`") for i in (2, 3))
            rows.append([op, f"{schema}.{table}", {}, {}])
        elif line == b"### WHERE" and rows:
            image = rows[-1][2]
        elif line == b"### SET" and rows:
            image = rows[-1][3]
        elif line.startswith(b"###   @") and rows:
            value = VALUE.match(line)
            if value:
                image[int(value[1])] = (value[3].decode(), value[2].strip())
    return rows


def compare(ours, theirs):
    compared = left_out = 0
    wrong = []
    if len(ours) != len(theirs):
        return 0, 0, [f"{len(ours)} rows, but mysqlbinlog has {len(theirs)}"]
    for n, ((op, table, before, after), (op_there, table_there, *images)) in enumerate(zip(ours, theirs), 1):
        where = f"row {n}, {op} {table}"
        if (op, table) != (op_there, table_there):
            wrong.append(f"{where}: mysqlbinlog has {op_there} {table_there}")
            continue
        for image, printed in zip((before, after), images):
            if not image:
                continue
            columns = list(image)
            # Columns that an image lacks are not numbered alike in both.
            if len(printed) != len(columns) and printed.keys() != set(range(1, len(printed) + 1)):
                left_out += len(columns)
                continue
            for number, (kind, text) in printed.items():
                if number > len(columns):
                    continue
                value = image[columns[number - 1]]
                same = is_same(value, kind, text)
                if same is SKIP:
                    left_out += 1
                elif same:
                    compared += 1
                else:
                    wrong.append(f"{where}, column `{columns[number - 1]}` ({kind}): {value!r}, mysqlbinlog prints {text!r}")
    return compared, left_out, wrong


def is_same(value, kind, text):
    """Whether a value of Tidegate's JSON is what mysqlbinlog prints as a value of `kind`."""
    if text == b"NULL" or value is None:
        return (text == b"NULL") == (value is None) or (kind == "JSON" and text == b"'null'")
    base = kind.split("(")[0]
    if base in ("TINYINT", "SHORTINT", "MEDIUMINT", "INT", "LONGINT"):
        # Without signs in the metadata it prints both readings.
        return str(value) in re.findall(r"-?\d+", text.decode())
    if base == "YEAR":
        # MariaDB's prints 0000 as 1900.
        return int(value) == int(text) or (int(value), text) == (0, b"1900")
    if base == "DECIMAL":
        return decimal(value) == decimal(text.decode())
    if base in ("FLOAT", "DOUBLE"):
        digits = 6 if base == "FLOAT" else 17
        return f"{float(value):.{digits}g}" == f"{float(text):.{digits}g}"
    if base == "BIT":
        return int(value) == int(text.strip(b"b'") or b"0", 2)
    if base == "DATE":
        return value == text.decode().strip("'").replace(":", "-")
    if base in ("TIME", "DATETIME"):
        return value == text.decode().strip("'")
    if base == "TIMESTAMP":
        return timestamp(value) == text.decode().strip("'")
    if base == "JSON":
        try:
            return json.loads(unescaped(text).decode(), parse_float=str) == as_read(value)
        except ValueError:
            return SKIP  # It does not escape what is in strings.
    if base in ("VARSTRING", "STRING") or base.endswith(("BLOB", "TEXT")):
        return same_bytes(value, unescaped(text))
    return SKIP


def as_read(value):
    return json.loads(json.dumps(value), parse_float=str)


def decimal(text):
    sign = "-" if text.startswith("-") else ""
    whole, _, fraction = text.lstrip("-").partition(".")
    return sign + (whole.lstrip("0") or "0") + "." + fraction


def timestamp(text):
    if text.startswith("0000"):
        return re.sub(r"0000-00-00 00:00:00", "0", text.rstrip("Z"))
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp())
    return f"{seconds}.{fraction}" if fraction else str(seconds)


def unescaped(text):
    named = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0"}
    escape = rb"\\(x[0-9a-fA-F]{2}|.)"
    return re.sub(escape, lambda m: bytes([int(m[1][1:], 16)]) if len(m[1]) == 3 else named.get(m[1], m[1]), text[1:-1], flags=re.S)


def same_bytes(value, printed):
    """Text as it is, bytes in base64; what the column's character set makes of the same text is left out."""
    if not isinstance(value, str):
        return SKIP
    if value.encode() == printed:
        return True
    for binary in (lambda: uuid.UUID(value).bytes, lambda: ipaddress.ip_address(value).packed):
        try:
            # MariaDB's addresses; the binlog has them without the zero bytes at their end.
            return True if binary().rstrip(b"\0") == printed.rstrip(b"\0") else SKIP
        except ValueError:
            pass
    try:
        bytes_ = base64.b64decode(value, validate=True)
        # The binlog has BINARY without the zero bytes at its end.
        if bytes_.rstrip(b"\0") == printed.rstrip(b"\0"):
            return True
    except ValueError:
        pass
    return SKIP if any(byte >= 0x80 or byte == 0 for byte in printed) else False


def of_peer(program, binlog, ours):
    """How many rows mysql_cdc has, and what is wrong with them, counted."""
    run = subprocess.run([program, str(binlog)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
    problems, found = Counter(), 0
    for line in run.stdout.splitlines():
        kind, *parts = line.split("\t")
        if kind == "unknown":
            problems["an event is unknown to it and left out without an error"] += 1
        elif kind == "error":
            problems["it gives up: " + re.sub(r"^String\(\"(.*)\"\)$", r"\1", parts[0]).partition("(")[0]] += 1
        else:
            if found < len(ours):
                op, table, before, after = ours[found]
                if (kind, parts[0]) != (op, table):
                    problems["a row in the wrong place"] += 1
                for image, printed in zip((before, after), map(json.loads, parts[1:])):
                    for (name, value), cell in zip((image or {}).items(), printed or []):
                        what = fault(value, cell)
                        if what:
                            problems[what] += 1
            found += 1
    if run.returncode:
        panic = next((line for line in run.stderr.splitlines() if "panicked" in line), "it ends with an error")
        problems["it panics: " + re.sub(r"^.*panicked at \S*/(mysql_cdc[^ ]*).*$", r"\1", panic).rstrip(":")] += 1
    if found < len(ours):
        problems["rows are missing"] = len(ours) - found
    return found, sorted(problems.items(), key=lambda item: -item[1])


def fault(value, cell):
    if (value is None) != (cell is None):
        return "NULL is a value, or a value NULL"
    if value is None:
        return None
    kind, theirs = cell
    if kind.startswith("int"):
        bits = int(kind[3:])
        if int(value) % 2**bits != theirs % 2**bits or (bits == 24 and theirs >= 2**24):
            return "an integer is another one"
        return None if int(value) == theirs else "a negative integer is positive (no sign)"
    if kind == "decimal":
        return None if decimal(theirs) == decimal(str(value)) else "a decimal is another one"
    if kind in ("time", "datetime", "timestamp"):
        ours = timestamp(value) if kind == "timestamp" else value
        ours, theirs = (text + ("" if "." in text else ".") for text in (ours, theirs))
        ours, theirs = (text.ljust(max(len(ours), len(theirs)), "0") for text in (ours, theirs))
        if ours == theirs:
            return None
        return f"a {kind.upper()} without its microseconds" if ours[:-3] == theirs[:-3] else f"a {kind.upper()} is another one"
    if kind == "date":
        return None if value == theirs else "a DATE is another one"
    if kind == "float":
        return None if struct.pack("f", float(value)) == struct.pack("f", theirs) else "a FLOAT is another one"
    if kind == "double":
        return None if float(value) == theirs else "a DOUBLE is another one"
    if kind == "bit":
        return None if int(value) in (int(theirs or "0", 2), int(theirs[::-1] or "0", 2)) else "a BIT is another one"
    if kind == "text":
        if value == theirs or same_bytes(value, theirs.encode()) is True:
            return None
        return "text or bytes that are not those of the column (character set not known to it)"
    return None


def report(sections):
    lines = [
        "# Beside another decoder",
        "",
        "`make differential` writes this page: recorded binlogs (tests/fixtures) decoded by Tidegate, by the servers' own `mysqlbinlog -vv`, and by the",
        "crate `mysql_cdc` 0.2.1. Tidegate and mysqlbinlog must not differ, or it fails. What is listed is where `mysql_cdc` differs from both.",
        "",
        "| binlog | rows | rows of mysql_cdc | what is wrong there |",
        "|---|---|---|---|",
    ]
    for name, rows, found, problems in sections:
        what = "<br>".join(f"{n} × {text}" for text, n in problems) or "nothing"
        lines.append(f"| {name} | {rows} | {found} | {what} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
