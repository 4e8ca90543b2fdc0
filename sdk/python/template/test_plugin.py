import unittest

from plugin import Plugin
from tidegate_plugin import PluginError
from tidegate_plugin.testing import Tester, insert, table, update

CUSTOMERS = table("shop.customers", {"id": "int64", "email": "text"})


class Mask(unittest.TestCase):
    def test_addresses_are_hidden_before_and_after(self):
        tester = Tester(Plugin, {"columns": ["email"]})
        [row] = tester.run(CUSTOMERS, [update({"id": 1, "email": "ada@example.com"}, {"id": 1, "email": "ada@example.org"})])
        self.assertEqual((row.before["email"], row.after["email"]), ("a***@example.com", "a***@example.org"))

    def test_null_stays_null(self):
        [row] = Tester(Plugin, {"columns": ["email"]}).run(CUSTOMERS, [insert({"id": 1, "email": None})])
        self.assertIsNone(row.after["email"])

    def test_a_config_without_columns_is_refused(self):
        with self.assertRaisesRegex(PluginError, "`columns` is missing"):
            Tester(Plugin, {})
