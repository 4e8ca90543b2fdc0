"""Finds out from real servers which characters equal ASCII letters and digits under which collation, and writes
collation_ids.rs and collation_folds.rs.

The hash of collation.rs sees a text as the letters and digits that its characters stand for. That is sound for a collation if the
letters of a character follow from its primary weights: texts of equal weights then have equal letters. So weights are asked for
(WEIGHT_STRING), each character gets the letters of its weights, and what the shared table says otherwise becomes a change of that
collation. A collation with a contraction that breaks the rule, or that calls two ASCII letters equal, gets no letters at all.

The hash is frozen: what the two files have for a collation stays, whatever the servers say today. Only collations that they do not have
are asked for."""

import re
import string
from collections import defaultdict

UNICODE = ("utf8mb4", "utf8mb3", "ucs2", "utf16", "utf16le", "utf32")
MULTI_BYTE = ("big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis")
CHANGES_MAX = 256


class Unknown(Exception):
    """The collation does not follow the rule."""


def prepare(ask, client, engine):
    """Tables of characters: chars (all below U+20000; no root collation has ASCII weights above), letters (first halves of contractions), marks (second halves)."""
    numbers = (
        "set cte_max_recursion_depth = 2000000; insert into chars with recursive r(n) as (select 0 union all select n + 1 from r where n < 131071)"
        " select n, convert(char(n using utf32) using utf8mb4) from r where n not between 55296 and 57343"
        if engine == "innodb"
        else "insert into chars select seq, convert(char(seq using utf32) using utf8mb4) from seq_0_to_131071 where seq not between 55296 and 57343"
    )
    latin = "n between 0xc0 and 0x24f or n between 0x1e00 and 0x1eff"
    ask(
        client,
        "drop database if exists record_values; create database record_values; use record_values;"
        f"create table chars (n int unsigned primary key, c varchar(4) character set utf8mb4 collate utf8mb4_bin) engine={engine}; {numbers};"
        f"create table letters as select n, c from chars where n between 0x41 and 0x5a or n between 0x61 and 0x7a or {latin};"
        f"create table marks as select n, c from chars where n between 0x20 and 0xbf or n between 0x300 and 0x36f or n in (0x2018, 0x2019) or {latin}",
    )


def units(weights, size, atomic):
    """The primary weights of a WEIGHT_STRING in hex; those of characters without an entry (two words) stay together."""
    if atomic:
        return (weights,) if weights else ()
    words = [weights[i : i + size] for i in range(0, len(weights), size)]
    if size == 4 and "0000" in words:
        words = words[: words.index("0000")]
    found = []
    while words:
        step = 2 if size == 4 and "FB40" <= words[0] <= "FBFF" and len(words) > 1 else 1
        found.append("".join(words[:step]))
        words = words[step:]
    return tuple(found)


def ascii_weights(weights):
    of = {}
    for char in string.ascii_letters + string.digits:
        if len(weights.get(ord(char), ())) != 1:
            raise Unknown(f"{char} has not one weight")
        if of.setdefault(weights[ord(char)][0], char.lower()) != char.lower():
            raise Unknown(f"{char} equals {of[weights[ord(char)][0]]}")
    return of


def changes(weights, base):
    """What must change in `base` for it to follow from the weights, and what each weight stands for."""
    of = ascii_weights(weights)
    classes = defaultdict(set)
    for char, words in weights.items():
        if len(words) == 1:
            classes[words[0]].add(base.get(char, ""))
    for word, folds in classes.items():
        if word not in of:
            of[word] = folds.pop() if len(folds) == 1 else ""
    wanted = {char: "".join(of.get(word, "") for word in words) for char, words in weights.items()}
    return {char: fold for char, fold in wanted.items() if base.get(char, "") != fold}, of


class Collation:
    """One collation of one server, asked through the one that stands for it (utf8mb4's, accent and case insensitive)."""

    def __init__(self, ask, client, name, charset, known):
        self.ask, self.client = ask, client
        if charset in UNICODE and "utf8mb4" + name[len(charset) :] in known:
            name, charset = "utf8mb4" + name[len(charset) :], "utf8mb4"
        name = name.replace("_nopad", "") if name.replace("_nopad", "") in known else name
        for sensitive in ("_as_cs", "_as_ci", "_ai_cs"):
            if name.replace(sensitive, "_ai_ci") in known:
                name = name.replace(sensitive, "_ai_ci")
        self.name, self.charset = name, charset
        self.is_unicode = charset in UNICODE
        self.atomic = charset in MULTI_BYTE or "general" in name
        self.size = 4 if self.is_unicode else 2

    def convert(self, text):
        return text if self.charset == "utf8mb4" else f"convert({text} using {self.charset})"

    def weight(self, text):
        return f"weight_string({self.convert(text)} collate {self.name})"

    def there(self, text):
        return "true" if self.charset == "utf8mb4" else f"convert({self.convert(text)} using utf8mb4) = {text}"

    def weights(self):
        rows = self.ask(self.client, f"select n, hex({self.weight('c')}) from record_values.chars where {self.there('c')}")
        return {int(row[0]): units(row[1] if len(row) > 1 else "", self.size, self.atomic) for row in rows}

    def contractions(self):
        """Pairs of characters, and the weights of the two together where they are not those of each."""
        if self.atomic:
            return []
        pair = "concat(a.c, b.c)"
        rows = self.ask(
            self.client,
            f"select a.n, b.n, hex({self.weight(pair)}) from record_values.letters a join record_values.marks b"
            f" where {self.weight(pair)} <> concat({self.weight('a.c')}, {self.weight('b.c')}) and {self.there(pair)}",
        )
        return [(int(row[0]), int(row[1]), units(row[2], self.size, False)) for row in rows]


def frozen(folder, variant_name):
    """What the two files say: the letters that most collations see in a character, the variants, and each id's character set and family."""
    folds, variants = (folder / "collation_folds.rs").read_text().split("pub(super) static VARIANTS")
    base = {ord(char): char.lower() for char in string.ascii_letters + string.digits}
    for fold, chars in re.findall(r'\("(\w*)", &\[(.*?)\]\)', folds, re.DOTALL):
        base |= {int(char, 16): fold for char in re.findall(r"0x[0-9a-f]+", chars)}
    found = re.findall(r"Variant \{ bmp_only: (\w+), changes_ascii: \w+, changes: &\[(.*?)\] \}", variants, re.DOTALL)
    pairs = lambda changed: tuple((int(char, 16), fold) for char, fold in re.findall(r'\((0x[0-9a-f]+), "(\w*)"\)', changed))
    known = [(bmp_only == "true", pairs(changed)) for bmp_only, changed in found]
    lower = {variant_name(charset): charset for charset in (*UNICODE, *MULTI_BYTE)}
    families = {}
    for first, last, charset, family in re.findall(r"\((\d+), (\d+), (\w+), ([\w()]+)\),", (folder / "collation_ids.rs").read_text()):
        for number in range(int(first), int(last) + 1):
            families[number] = (lower.get(charset, charset.lower()), family)
    return base, known, families


def variant_of(collations, base):
    """(is of the BMP only, changes) for a collation id, which one server or two know."""
    data = []
    for one in collations:
        weights = one.weights()
        ascii_weights(weights)  # fails early
        data.append((one, {char: words for char, words in weights.items() if char < 0x10000 or char in base}, one.contractions()))
    best = None
    for bmp_only in (False, True):
        start = {char: fold for char, fold in base.items() if char < 0x10000 or not bmp_only}
        folds = dict(start)
        for _ in range(4):
            before = dict(folds)
            for _, weights, _ in data:
                folds.update(changes(weights, folds)[0])
            if folds == before:
                break
        else:
            raise Unknown("the two servers disagree")
        changed = {char: fold for char, fold in folds.items() if start.get(char, "") != fold}
        for one, weights, contractions in data:
            of = changes(weights, folds)[1]
            for first, second, words in contractions:
                if "".join(of.get(word, "") for word in words) != folds.get(first, "") + folds.get(second, ""):
                    raise Unknown(f"{one.name}: contraction {chr(first)}{chr(second)}")
        if best is None or len(changed) < len(best[1]):
            best = (bmp_only, tuple(sorted(changed.items())))
    if len(best[1]) > CHANGES_MAX:
        raise Unknown(f"{len(best[1])} characters differ")
    return best


def rust_string(text):
    return '"' + text + '"'


def wrapped(items, indent, width=128):
    lines, line = [], indent
    for item in items:
        if len(line) + len(item) > width:
            lines.append(line.rstrip())
            line = indent
        line += item + " "
    return lines + [line.rstrip()]


def entry(head, items, tail):
    """On one line if it fits."""
    line = head + " ".join(items)[:-1] + tail
    return [line] if len(line) <= 132 else [head, *wrapped(items, "        "), "    " + tail]


def record(ask, mysql, mariadb, folder, variant_name):
    rows = {
        mysql: ask(mysql, "select id, collation_name, character_set_name from information_schema.collations"),
        mariadb: ask(
            mariadb,
            "select id, full_collation_name, character_set_name from information_schema.collation_character_set_applicability"
            " where character_set_name is not null and id is not null",
        ),
    }
    known = {client: {row[1] for row in found} for client, found in rows.items()}
    ids = defaultdict(dict)
    for client, found in rows.items():
        for number, name, charset in found:
            ids[int(number)][client] = (name, charset)
    base, variants, families = frozen(folder, variant_name)
    done, unknown = {}, {}
    new = {number: servers for number, servers in sorted(ids.items()) if number not in families}
    if new:
        prepare(ask, mysql, "innodb")
        prepare(ask, mariadb, "aria")
    for number, servers in new.items():
        charsets = {charset for _, charset in servers.values()}
        assert len(charsets) == 1, servers
        charset = charsets.pop()
        if all(name == "binary" or name.endswith("_bin") for name, _ in servers.values()):
            families[number] = (charset, "Bytes")
            continue
        collations = [Collation(ask, client, name, charset, known[client]) for client, (name, _) in sorted(servers.items())]
        key = tuple((one.client, one.name) for one in collations)
        if key not in done:
            try:
                variant = variant_of(collations, base)
                if variant not in variants:
                    variants.append(variant)
                done[key] = f"Letters({variants.index(variant)})"
            except Unknown as why:
                done[key] = "Other"
                unknown[collations[0].name] = str(why)
        families[number] = (charset, done[key])
    for name, why in sorted(unknown.items()):
        print(f"{name}: all texts hash the same: {why}")
    write_ids(folder / "collation_ids.rs", families, variant_name)
    write_folds(folder / "collation_folds.rs", base, variants)


def write_ids(path, families, variant_name):
    runs = []
    for number in sorted(families):
        if runs and runs[-1][1] == number - 1 and runs[-1][2] == families[number]:
            runs[-1][1] = number
        else:
            runs.append([number, number, families[number]])
    lines = [
        "//! Every collation id of MySQL 9.7 and MariaDB 11.8. Generated by `scripts/record-values.sh` from information_schema.",
        "",
        "use super::charset::Charset::{self, *};",
        "use super::collation::Family::{self, *};",
        "",
        f"const ID_MAX: usize = {max(families)};",
        "",
        "/// Runs of ids (first, last) of one character set and family.",
        "#[rustfmt::skip]",
        f"const RUNS: [(u16, u16, Charset, Family); {len(runs)}] = [",
        *(f"    ({first}, {last}, {variant_name(charset)}, {family})," for first, last, (charset, family) in runs),
        "];",
        "",
        "static BY_ID: [Option<(Charset, Family)>; ID_MAX + 1] = {",
        "    let mut by_id = [None; ID_MAX + 1];",
        "    let mut run = 0;",
        "    while run < RUNS.len() {",
        "        let (first, last, charset, family) = RUNS[run];",
        "        let mut id = first;",
        "        while id <= last {",
        "            by_id[id as usize] = Some((charset, family));",
        "            id += 1;",
        "        }",
        "        run += 1;",
        "    }",
        "    by_id",
        "};",
        "",
        "/// The character set and family of a collation; `None`: no server has this id.",
        "#[inline]",
        "pub(super) fn find(id: u16) -> Option<(Charset, Family)> {",
        "    *BY_ID.get(usize::from(id))?",
        "}",
    ]
    path.write_text("\n".join(lines) + "\n")


def write_folds(path, base, variants):
    groups = defaultdict(list)
    for char, fold in base.items():
        if char >= 0x80:
            groups[fold].append(char)
    lines = [
        "//! Which characters count as which ASCII letters and digits. Generated by `scripts/record-values.sh` from WEIGHT_STRING of",
        "//! MySQL 9.7 and MariaDB 11.8.",
        "",
        "use super::collation::Variant;",
        "",
        "/// Letters and digits, and the characters that count as them under most collations (ASCII ones as themselves, in lower case).",
        "#[rustfmt::skip]",
        "pub(super) static FOLDS: &[(&str, &[u32])] = &[",
    ]
    for fold, chars in sorted(groups.items()):
        lines += entry(f"    ({rust_string(fold)}, &[", [f"{char:#x}," for char in sorted(chars)], "]),")
    lines += ["];", "", "/// What collations change in that; the number of a variant is in the family of its collations.", "#[rustfmt::skip]"]
    lines += ["pub(super) static VARIANTS: &[Variant] = &["]
    for bmp_only, changed in variants:
        has_ascii = any(char < 0x80 for char, _ in changed)
        head = f"    Variant {{ bmp_only: {str(bmp_only).lower()}, changes_ascii: {str(has_ascii).lower()}, changes: &["
        lines += entry(head, [f"({char:#x}, {rust_string(fold)})," for char, fold in changed], "] },")
    path.write_text("\n".join(lines + ["];", ""]))
