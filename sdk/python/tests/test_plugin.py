import unittest
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from componentize_py_types import Err
from tidegate_plugin import Buffers, Derivation, Plan, PluginError
from tidegate_plugin.guest import transform
from tidegate_plugin.testing import Tester, delete, insert, snapshot, table, update
from wit_world.imports import types as wire

KINDS = {
    "id": "int64", "flag": "boolean", "count": "uint64", "ratio": "float64", "name": "text", "blob": "bytes", "price": "decimal", "doc": "json",
    "day": "date", "span": "time", "at": "datetime", "seen": "timestamp",
}  # fmt: skip
ROW = {
    "id": -(2**63), "flag": True, "count": 2**64 - 1, "ratio": 0.1, "name": "zoé", "blob": b"\0\xff", "price": "1.50", "doc": '{"a":1}',
    "day": 1_700_006_400_000, "span": -1, "at": -(2**63), "seen": 1_700_000_000_000_001,
}  # fmt: skip
TYPES = table("shop.types", KINDS)


def all_columns(plan):
    return plan.reads(*KINDS)


def run(plan, process, changes, metadata={}):
    """Runs a plugin made of a function from plan to plan, and one that processes."""

    class Plugin:
        def __init__(self, config):
            pass

        def bind(self, relation):
            return plan(Plan())

        def process(self, batch):
            process(batch)

    return Tester(Plugin).run(TYPES, changes, metadata)


def each(act):
    def process(batch):
        for row in batch.rows:
            act(row)

    return process


class Values(unittest.TestCase):
    def test_values_of_every_kind_go_through_exactly(self):
        def plan(plan):
            for name, kind in KINDS.items():
                plan.adds(f"{name}_copy", kind)
            return all_columns(plan)

        def copy(row):
            for name in KINDS:
                row[f"{name}_copy"] = row[name]

        [row] = run(plan, each(copy), [insert(ROW)])
        for name in KINDS:
            self.assertEqual(row.after[f"{name}_copy"], ROW[name], name)
            self.assertIs(type(row.after[f"{name}_copy"]), type(ROW[name]), name)

    def test_absent_and_null_are_told_apart_in_all_images(self):
        seen = []

        def look(row):
            seen.append((row["name"], row.has("name"), row.before["name"], row.before.has("name"), row.after["name"]))

        run(all_columns, each(look), [
            insert({"id": 1}), insert({"id": 2, "name": None}), delete({"id": 3, "name": "old"}),
            update({"id": 4, "name": "old"}, {"id": 4, "name": "new"}),
        ])  # fmt: skip
        self.assertEqual(seen, [
            (None, False, None, False, None), (None, True, None, False, None), ("old", True, "old", True, None),
            ("new", True, "old", True, "new"),
        ])  # fmt: skip

    def test_a_row_is_set_in_its_own_image_unless_one_is_named(self):
        def act(row):
            row["name"] = "own"
            row.before["price"] = "2"

        updated, deleted = run(all_columns, each(act), [update(ROW, ROW), delete(ROW)])
        self.assertEqual((updated.after["name"], updated.before["name"], updated.before["price"]), ("own", "zoé", "2"))
        self.assertEqual((deleted.before["name"], deleted.after), ("own", {}))

    def test_what_does_not_fit_a_column_is_refused_by_name(self):
        for name, value, message in [
            ("id", 2**63, "column `id` is int64; a value does not fit"),
            ("count", -1, "column `count` is uint64; a value does not fit"),
            ("id", 0.5, "column `id` is int64; the value is float"),
            ("id", True, "column `id` is int64; the value is bool"),
            ("name", 1, "column `name` is text; the value is int"),
            ("price", Decimal("NaN"), "column `price` is decimal; the value is Decimal"),
            ("nme", "x", "shop.types has no column `nme`"),
        ]:
            with self.subTest(name=name, value=value), self.assertRaisesRegex(Exception, message):
                run(all_columns, each(lambda row: row.set(name, value)), [insert(ROW)])

    def test_dates_are_numbers_and_datetime_where_it_is_asked_for(self):
        seen = []

        def act(row):
            seen.extend([row.temporal("day"), row.temporal("span"), row.temporal("seen")])
            with self.assertRaisesRegex(ValueError, "a date that Python's datetime does not have"):
                row.temporal("at")
            row["day"] = date(2024, 2, 29)
            row["at"] = datetime(2024, 2, 29, 12, 0, 0, 5)
            row["seen"] = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
            row["span"] = timedelta(hours=-838)
            row["price"] = Decimal("1E-7")

        [row] = run(all_columns, each(act), [insert(ROW)])
        instant = datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC)
        self.assertEqual(seen, [date(2023, 11, 15), timedelta(microseconds=-1), instant])
        self.assertEqual((row.after["day"], row.after["at"]), (1_709_164_800_000, 1_709_208_000_000_005))
        self.assertEqual((row.after["seen"], row.after["span"], row.after["price"]), (-1, -838 * 3600 * 10**6, "0.0000001"))


class Rows(unittest.TestCase):
    def test_a_column_that_the_plan_does_not_read_or_not_so_is_an_error(self):
        for plan, look, message in [
            (lambda plan: plan.reads("id"), lambda row: row["name"], "the plan does not read the column `name`"),
            (lambda plan: plan.reads_after("name"), lambda row: row.before["name"], "`name` before the change"),
            (lambda plan: plan.reads("nme"), lambda row: None, "shop.types has no column `nme`"),
            (lambda plan: plan.adds("x", "txt"), lambda row: None, "kind of column `x` 'txt': it is one of boolean, int64"),
        ]:
            with self.subTest(message=message), self.assertRaisesRegex(Exception, message):
                run(plan, each(look), [update(ROW, ROW)])

    def test_rows_are_dropped_routed_failed_and_become_other_operations(self):
        acts = [lambda row: row.drop(), lambda row: row.route("a", "b"), lambda row: row.fail("why"), lambda row: row.set_op("update")]
        rows = run(all_columns, each(lambda row: acts[row.index](row)), [insert(ROW), insert(ROW), insert(ROW), delete(ROW)])
        found = [(row.dropped, row.topics, row.error, row.op) for row in rows]
        self.assertEqual(found, [
            (True, None, None, "insert"), (False, ["a", "b"], None, "insert"), (False, None, "why", "insert"), (False, None, None, "update"),
        ])  # fmt: skip

    def test_rows_of_other_tables_are_made_in_the_order_of_their_origins(self):
        def plan(plan):
            return all_columns(plan).derives(Derivation("shop.made").key("id", "int64").key("n", "int64").column("note", "text"))

        def make(row):
            row.derive("shop.made", {"id": row["id"], "n": 0, "note": None})
            row.derive("shop.made", {"id": row["id"], "n": 1}, op="delete")

        [row] = run(plan, each(make), [insert(ROW)])
        found = [(made.table, made.op, made.before, made.after) for made in row.derived]
        self.assertEqual(found, [
            ("shop.made", "insert", {}, {"id": ROW["id"], "n": 0, "note": None}), ("shop.made", "delete", {"id": ROW["id"], "n": 1}, {}),
        ])  # fmt: skip
        with self.assertRaisesRegex(ValueError, "`shop.made` has no column `m`"):
            run(plan, each(lambda row: row.derive("shop.made", {"m": 1})), [insert(ROW)])

    def test_metadata_is_what_the_plan_asks_for(self):
        seen = []
        plan = lambda plan: plan.reads_metadata("position", "place", "transaction")  # noqa: E731
        look = each(lambda row: seen.append([row.metadata(word) for word in ("position", "place", "transaction")]))
        run(plan, look, [insert(ROW)], {"position": "binlog.000001:4", "place": 7})
        self.assertEqual(seen, [["binlog.000001:4", 7, None]])

    def test_tables_and_operations_that_are_not_asked_for_pass_by(self):
        drop = each(lambda row: row.drop())
        rows = run(lambda plan: plan.ops("delete"), drop, [snapshot(ROW), delete(ROW)])
        self.assertEqual([row.dropped for row in rows], [False, True])
        self.assertFalse(run(lambda plan: None, drop, [insert(ROW)])[0].dropped)


class Columns(unittest.TestCase):
    def test_columns_are_read_and_set_at_once(self):
        def process(batch):
            batch.keep(span < 0 for span in batch["span"])
            batch.set_all("region", "eu")
            batch.set_each("twice", [2, None])
            batch.rewrite_texts("name", str.upper)
            batch.route_all("rest")
            batch.route_each(["first", None])

        changes = [update(ROW | {"name": None}, ROW), insert(ROW | {"span": 1, "name": None})]
        kept, dropped = run(lambda plan: all_columns(plan).adds("region", "text").adds("twice", "int64"), process, changes)
        self.assertEqual((kept.after["region"], kept.after["twice"], kept.after["name"]), ("eu", 2, "ZOÉ"))
        self.assertEqual((kept.before["name"], kept.topics, kept.dropped), (None, ["first"], False))
        self.assertEqual((dropped.dropped, dropped.after["twice"], dropped.after["name"], dropped.topics), (True, None, None, ["rest"]))

    def test_columns_are_read_and_rewritten_as_bytes(self):
        def process(batch):
            count, name, flag = batch.buffers("count"), batch.buffers("name"), batch.buffers("flag")
            self.assertEqual((count.words[::8], count.valid), (b"\xff\7", b""))
            self.assertEqual((name.data, name.offsets, name.valid), ("zoé".encode(), [0, 4, 4], b"\1\0"))
            self.assertEqual((flag.data, batch.buffers("flag", "before").valid), (b"\1\0", b"\1\0"))
            batch.keep(b"\0\7")
            batch.rewrite_buffers("count", lambda old: old._replace(words=old.words[::-1]))
            batch.rewrite_buffers("name", lambda old: Buffers(offsets=[0, 1, 2], data=b"ab"))
            batch.rewrite_buffers("flag", lambda old: old._replace(data=old.data.translate(bytes.maketrans(b"\0\1", b"\1\0"))))

        dropped, kept = run(all_columns, process, [update(ROW, ROW), insert(ROW | {"count": 7, "name": None, "flag": False})])
        self.assertEqual((dropped.dropped, dropped.after["count"], dropped.before["name"], dropped.before["flag"]), (True, 7 << 56, "a", False))
        self.assertEqual((kept.dropped, kept.after["count"], kept.after["name"], kept.after["flag"]), (False, 2**64 - 1, None, True))
        with self.assertRaisesRegex(ValueError, "'own': it is after or before"):
            run(all_columns, lambda batch: batch.buffers("name", "own"), [insert(ROW)])

    def test_rows_go_to_topics_by_number(self):
        def process(batch):
            batch.route_among(["a", "b"], [1, 0])
            batch.route_among(["b", "c", "b"], b"\2\1")

        found = run(all_columns, process, [insert(ROW)] * 2)
        self.assertEqual([row.topics for row in found], [["b"], ["c"]])
        for which, error in ([2], "topic 2 of 2"), ([0, 1], "2 topics for 1 rows"):
            with self.assertRaisesRegex(ValueError, error):
                run(all_columns, lambda batch, which=which: batch.route_among(["a", "b"], which), [insert(ROW)])

    def test_bitmaps_of_any_number_of_rows(self):
        for rows in (1, 7, 8, 9, 64, 1000):
            keep = [row % 3 == 0 for row in range(rows)]
            found = run(all_columns, lambda batch: batch.keep(keep), [insert(ROW | {"name": None})] * rows)
            self.assertEqual([not row.dropped for row in found], keep)
        with self.assertRaisesRegex(ValueError, "1 answers for 2 rows"):
            run(all_columns, lambda batch: batch.keep([True]), [insert(ROW)] * 2)


class Errors(unittest.TestCase):
    def test_an_exception_names_its_file_line_and_row_and_a_plugin_error_is_its_message(self):
        class Plugin:
            def __init__(self, config):
                self.word = config["word"]

            def bind(self, relation):
                return Plan().reads("id")

            def process(self, batch):
                for row in batch.rows:
                    if row.index == 1:
                        raise PluginError("refused") if self.word == "error" else TypeError("thrown")

        for word, expected in [("error", "^refused$"), ("throw", r"^TypeError: thrown \(at .*test_plugin\.py:\d+ in process, row 1 of the batch\)$")]:
            component = transform(Plugin)()
            component.configure(f'{{"word": "{word}"}}')
            component.bind(wire.Relation(3, "shop", "types", TYPES.columns, [0], []))
            column = wire.Column(0, 0, wire.Vector(1, b"", b"", wire.Buffer_Words(bytes(16))))
            with self.assertRaises(Err) as raised:
                component.process(3, wire.Batch(2, [0, 0], [column], []))
            self.assertRegex(raised.exception.value, expected)


if __name__ == "__main__":
    unittest.main()
