import unittest

from plugin import Plugin
from tidegate_plugin.testing import Tester, delete, insert, table, update

ORDERS = table("shop.orders", {"id": "int64"})
CONFIG = {"tables": ["shop.orders"], "column": "version"}


class Numbers(unittest.TestCase):
    def test_changes_of_a_key_are_counted_from_batch_to_batch(self):
        def run(tester, *changes):
            return [row.after.get("version") for row in tester.run(ORDERS, list(changes))]

        one, two, three = {"id": 1}, {"id": 2}, {"id": 3}
        tester = Tester(Plugin, CONFIG)
        self.assertEqual(run(tester, insert(one), update(one, one), insert(two), update(one, one)), [1, 2, 1, 3])
        self.assertEqual(run(tester, update(two, two), delete(one), insert(one), update(three, three)), [2, None, 1, 1])
        # Another tester remembers nothing of it.
        self.assertEqual(run(Tester(Plugin, CONFIG), update(two, two)), [1])
