import assert from 'node:assert/strict';
import test from 'node:test';
import { Tester, change, table } from 'tidegate-plugin/test';

import Plugin from './plugin.js';

test('changes of a key are counted from batch to batch', () => {
  const orders = table('shop.orders', { id: 'int64' });
  const insert = (id) => change.insert({ id });
  const update = (id) => change.update({ id }, { id });
  const run = (tester, ...changes) => tester.run(orders, changes).map((row) => row.after.version);
  const config = { tables: ['shop.orders'], column: 'version' };
  const tester = new Tester(Plugin, config);
  assert.deepEqual(run(tester, insert(1n), update(1n), insert(2n), update(1n)), [1n, 2n, 1n, 3n]);
  assert.deepEqual(run(tester, update(2n), change.delete({ id: 1n }), insert(1n), update(3n)), [2n, undefined, 1n, 1n]);
  // Another tester remembers nothing of it.
  assert.deepEqual(run(new Tester(Plugin, config), update(2n)), [1n]);
});
