"""Lets a real MySQL write JSON documents and decimals, and keeps the bytes of its row images beside the text that it prints.

The binlog is read with the few lines that one table of fixed shape needs, so that no code of the runtime judges itself."""

import json
import random
import struct
import subprocess

# As text, and as expressions for what only SQL can make: opaque values, exact doubles.
DOCUMENTS = [
    "null", "true", "false", "0", "-1", "32767", "-32768", "65535", "65536", "-32769", "2147483647", "-2147483648", "4294967295", "4294967296",
    "9223372036854775807", "-9223372036854775808", "18446744073709551615", "18446744073709551616", "1.0", "-0.0", "1e20", "1e15", "1e14",
    "123456789012345.0", "1234567890123456.0", "1e-14", "1e-15", "1e-16", "0.1", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308",
    '""', '"a"', '"é😀"', r'"\u0000\u0001\b\t\n\f\r\u001f \"\\/\u007f"', "[]", "{}", "[[]]", "[{}]", '{"":""}', '{"b":1,"a":2,"aa":3,"B":4}',
    '[1,-1,65536,4294967296,"x",null,true,1.5,[2,[3]],{"k":[]}]', '{"é":"\\"","k\\"":null}', "[" * 100 + "]" * 100,
    '{"a":' * 50 + "1" + "}" * 50,
]
EXPRESSIONS = [
    "json_array(cast('838:59:58.999999' as time(6)), cast('-838:59:59' as time), cast('-00:00:00.5' as time(1)), cast('00:00:00' as time))",
    "json_array(date'2024-02-29', date'9999-12-31', timestamp'2024-02-29 01:02:03.4567', timestamp'1000-01-01 00:00:00')",
    "json_array(0.50, -12.3400, 0, 0.0, 99999999999999999999999999999999999999999999999999999999999999999, 123456789012345678.901234567890)",
    "cast(1.5 as json)", "cast(date'2024-02-29' as json)", "cast(x'00ff10' as json)", "json_array(x'', b'101', repeat(x'fe', 100), repeat('b', 300))",
    "json_array(repeat(x'01', 57), repeat(x'02', 58), repeat(x'03', 56), repeat(x'04', 114))",
    "json_object('long', repeat('x', 70000), 'int', 70000, 'uint', 4000000000, 'negative', -70000, 'small', 1, 'null', null)",
    "json_array(repeat('y', 127), repeat('y', 128), repeat('z', 16384))",
    "json_array(1, repeat('é', 40000), json_object('k', json_array(1, 2.5, 'v'), 'l', true))",
    "json_object(repeat('k', 60000), 1, repeat('l', 6000), json_array())",
    "(select json_arrayagg(n) from record_rows.numbers where n < 30000)",
    "(select json_objectagg(concat('key', n), n * 0.5) from record_rows.numbers where n < 3000)",
]
DECIMALS = [(1, 0), (1, 1), (2, 2), (5, 2), (9, 0), (9, 9), (10, 2), (10, 0), (12, 2), (14, 4), (18, 9), (19, 0), (20, 10), (27, 18), (30, 30), (38, 20), (65, 0), (65, 30)]


def documents():
    dice = random.Random(42)
    found = list(DOCUMENTS)
    for _ in range(120):
        bits = dice.getrandbits(64)
        value = struct.unpack("<d", struct.pack("<Q", bits))[0]
        if value == value and abs(value) != float("inf"):
            found.append(repr(value))
    found += [repr(round(dice.uniform(-1e6, 1e6), dice.randrange(6))) for _ in range(60)]
    found += [f"{dice.randrange(1, 1000)}e{dice.randrange(-30, 30)}" for _ in range(60)]

    def any_value(depth):
        kind = dice.randrange(8 if depth else 6)
        if kind == 6:
            return [any_value(depth - 1) for _ in range(dice.randrange(5))]
        if kind == 7:
            return {"".join(dice.choices("abcé\"", k=dice.randrange(6))): any_value(depth - 1) for _ in range(dice.randrange(5))}
        return [None, True, dice.randrange(-(1 << 40), 1 << 40), dice.randrange(-300, 300), dice.random(), "".join(dice.choices("xyz\n\u20ac", k=9))][kind]

    return found + [json.dumps(any_value(4)) for _ in range(60)]


def decimals(precision, scale):
    dice = random.Random(precision * 100 + scale)
    digits = ["0" * precision, "9" * precision, "1" + "0" * (precision - 1), "0" * (precision - 1) + "1"]
    digits += ["".join(dice.choices("0123456789", k=precision)) for _ in range(4)]
    digits += ["".join(dice.choices("0123456789", k=max(1, precision // 2))).zfill(precision) for _ in range(2)]
    point = precision - scale
    return [sign + (d[:point] or "0") + ("." + d[point:] if scale else "") for d in digits for sign in ("", "-")]


def quoted(text):
    return "_utf8mb4 x'" + text.encode().hex() + "'"


def row_values(ask, client, table, length_of):
    """The bytes of the second column, from the binlog since the last FLUSH; `length_of(bytes, at)` gives where they begin and end."""
    name = ask(client, "show binary logs")[-1][0]
    folder = ask(client, "select @@datadir")[0][0]
    data = open(folder.rstrip("/") + "/" + name, "rb").read()
    at, values, current = 4, {}, None
    while at < len(data):
        kind, size = data[at + 4], struct.unpack_from("<I", data, at + 9)[0]
        body = data[at + 19 : at + size - 4]  # without the CRC
        if kind == 19:
            name_at = 8 + 1 + body[8] + 1
            current = body[name_at + 1 : name_at + 1 + body[name_at]].decode()
        elif kind == 30 and current == table:
            row = 8 + struct.unpack_from("<H", body, 8)[0] + 1 + 1  # post-header, column count 2, columns present
            while row < len(body):
                assert body[row] & 3 == 0
                number = struct.unpack_from("<I", body, row + 1)[0]
                begin, end = length_of(body, row + 5)
                values[number] = body[begin:end]
                row = end
        at += size
    return values


def record(ask, mysql, folder):
    folder.mkdir(exist_ok=True)
    ask(
        mysql,
        "drop database if exists record_rows; create database record_rows; use record_rows; set cte_max_recursion_depth = 100000;"
        "create table numbers as with recursive r(n) as (select 1 union all select n + 1 from r where n < 30000) select n from r;"
        "create table documents (id int primary key, d json not null); flush binary logs;"
        + "".join(f"insert into documents values ({i}, {quoted(d)});" for i, d in enumerate(documents()))
        + "".join(f"insert into documents values ({1000 + i}, {e});" for i, e in enumerate(EXPRESSIONS)),
    )
    values = row_values(ask, mysql, "documents", lambda b, at: (at + 4, at + 4 + struct.unpack_from("<I", b, at)[0]))
    texts = {int(i): bytes.fromhex(d).decode() for i, d in ask(mysql, "select id, hex(cast(d as char)) from record_rows.documents")}
    assert values.keys() == texts.keys(), (len(values), len(texts))
    lines = "".join(f"{values[i].hex()}\t{texts[i]}\n" for i in sorted(values))
    done = subprocess.run(["zstd", "-19", "--stdout", "--no-progress"], input=lines.encode(), capture_output=True, check=True)
    (folder / "json.tsv.zst").write_bytes(done.stdout)

    lines = []
    for precision, scale in DECIMALS:
        part = lambda digits: digits // 9 * 4 + (digits % 9 + 1) // 2
        size = part(precision - scale) + part(scale)
        ask(
            mysql,
            f"use record_rows; drop table if exists amounts; create table amounts (id int primary key, d decimal({precision},{scale}) not null);"
            "flush binary logs; insert into amounts values "
            + ",".join(f"({i},{text})" for i, text in enumerate(decimals(precision, scale))),
        )
        values = row_values(ask, mysql, "amounts", lambda b, at, size=size: (at, at + size))
        for number, text in ask(mysql, "select id, d from record_rows.amounts order by id"):
            lines.append(f"{precision}\t{scale}\t{values[int(number)].hex()}\t{text}\n")
    (folder / "decimal.tsv").write_text("".join(lines))
