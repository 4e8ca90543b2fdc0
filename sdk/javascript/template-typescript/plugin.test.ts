import assert from 'node:assert/strict';
import test from 'node:test';
import { Tester, change, table } from 'tidegate-plugin/test';

import Plugin from './plugin.ts';

const customers = table('shop.customers', { id: 'int64', email: 'text' });

test('e-mail addresses are hidden, before and after', () => {
  const tester = new Tester(Plugin, { columns: ['email'] });
  const [row] = tester.run(customers, [change.update({ id: 1n, email: 'ada@example.com' }, { id: 1n, email: 'ada@example.org' })]);
  assert.equal(row.before.email, 'a***@example.com');
  assert.equal(row.after.email, 'a***@example.org');
});

test('NULL stays NULL', () => {
  const [row] = new Tester(Plugin, { columns: ['email'] }).run(customers, [change.insert({ id: 1n, email: null })]);
  assert.equal(row.after.email, null);
});

test('a config without columns is refused', () => {
  assert.throws(() => new Tester(Plugin, {}), /`columns` is missing/);
});
