import assert from 'node:assert/strict';
import test from 'node:test';

import { Derivation, Plan, PluginError, toDate } from 'tidegate-plugin';
import { Tester, change, table } from 'tidegate-plugin/test';
import { guest } from '../src/guest.js';

const KINDS = {
  id: 'int64', flag: 'boolean', count: 'uint64', ratio: 'float64', name: 'text', blob: 'bytes', price: 'decimal', doc: 'json',
  day: 'date', span: 'time', at: 'datetime', seen: 'timestamp',
};
const ROW = {
  id: -(2n ** 63n), flag: true, count: 2n ** 64n - 1n, ratio: 0.1, name: 'zoé', blob: Uint8Array.of(0, 255), price: '1.50', doc: '{"a":1}',
  day: 1_700_006_400_000n, span: -1n, at: -(2n ** 63n), seen: 1_700_000_000_000_001n,
};
const types = table('shop.types', KINDS);

/** Runs a plugin made of a function from plan to plan and one that processes. */
function run(plan, process, changes, of = types, metadata = {}) {
  class Plugin {
    bind() { return plan(new Plan()); }
    process(batch) { process(batch); }
  }
  return new Tester(Plugin).run(of, changes, metadata);
}
const all = (plan) => plan.reads(...Object.keys(KINDS));
const each = (act) => (batch) => { for (const row of batch.rows()) act(row); };

test('values of every kind go through exactly', () => {
  const names = Object.keys(KINDS);
  const plan = (plan) => names.reduce((plan, name) => plan.adds(`${name}_copy`, KINDS[name]), all(plan));
  const copy = each((row) => names.forEach((name) => row.set(`${name}_copy`, row.get(name))));
  const [row] = run(plan, copy, [change.insert(ROW)]);
  for (const name of names) assert.deepEqual(row.after[`${name}_copy`], ROW[name], name);
});

test('absent is undefined and NULL is null, in both views and all images', () => {
  const seen = [];
  const look = (batch) => {
    for (const row of batch.rows()) seen.push([row.get('name'), row.has('name'), row.isNull('name'), row.before.get('name'), row.after.get('name')]);
    assert.deepEqual(batch.values('name'), seen.map(([own]) => own));
  };
  run(all, look, [
    change.insert({ id: 1n }), change.insert({ id: 2n, name: null }), change.delete({ id: 3n, name: 'old' }),
    change.update({ id: 4n, name: 'old' }, { id: 4n, name: 'new' }),
  ]);
  assert.deepEqual(seen, [
    [undefined, false, false, undefined, undefined],
    [null, true, true, undefined, null],
    ['old', true, false, 'old', undefined],
    ['new', true, false, 'old', 'new'],
  ]);
});

test('a row is set in its own image unless one is named', () => {
  const set = each((row) => { row.set('name', 'own'); row.before.set('price', '2'); });
  const [updated, deleted] = run(all, set, [change.update(ROW, ROW), change.delete(ROW)]);
  assert.deepEqual([updated.after.name, updated.before.name, updated.before.price], ['own', 'zoé', '2']);
  assert.deepEqual([deleted.before.name, deleted.after], ['own', {}]);
});

test('what does not fit a column is refused by name', () => {
  const set = (name, value) => () => run(all, each((row) => row.set(name, value)), [change.insert(ROW)]);
  assert.throws(set('id', 2n ** 63n), /column `id` is int64; the value is a bigint that does not fit/);
  assert.throws(set('count', -1), /column `count` is uint64; the value is a number that does not fit/);
  assert.throws(set('id', 0.5), /a number that is no exact integer/);
  assert.throws(set('name', 1), /column `name` is text/);
  assert.throws(set('name', undefined), /undefined \(NULL is null\)/);
  assert.throws(set('nme', 'x'), /shop\.types has no column `nme`/);
});

test('a column that the plan does not read, or not so, is an error', () => {
  const get = (plan, look) => () => run(plan, each(look), [change.update(ROW, ROW)]);
  assert.throws(get((plan) => plan.reads('id'), (row) => row.get('name')), /the plan does not read the column `name`/);
  assert.throws(get((plan) => plan.readsAfter('name'), (row) => row.before.get('name')), /`name` before the change/);
  assert.throws(get((plan) => plan.reads('nme'), () => {}), /shop\.types has no column `nme`/);
  assert.throws(get((plan) => plan.adds('x', 'txt'), () => {}), /kind of column `x` "txt": it is one of boolean, int64/);
});

test('rows are dropped, routed, failed, and become other operations', () => {
  const act = each((row) => {
    if (row.index === 0) row.drop();
    if (row.index === 1) row.route('a', 'b');
    if (row.index === 2) row.fail('why');
    if (row.index === 3) row.setOp('update');
  });
  const rows = run(all, act, [change.insert(ROW), change.insert(ROW), change.insert(ROW), change.delete(ROW)]);
  assert.deepEqual(rows.map(({ dropped, topics, error, op }) => [dropped, topics, error, op]), [
    [true, undefined, undefined, 'insert'], [false, ['a', 'b'], undefined, 'insert'], [false, undefined, 'why', 'insert'],
    [false, undefined, undefined, 'update'],
  ]);
});

test('rows of other tables are made, in the order of their origins', () => {
  const plan = (plan) => all(plan).derives(new Derivation('shop.made').key('id', 'int64').key('n', 'int64').column('note', 'text'));
  const make = each((row) => {
    row.derive('shop.made', { id: row.get('id'), n: 0, note: null });
    row.derive('shop.made', { id: row.get('id'), n: 1 }, { op: 'delete' });
  });
  const [row] = run(plan, make, [change.insert(ROW)]);
  assert.deepEqual(row.derived, [
    { table: 'shop.made', op: 'insert', before: {}, after: { id: ROW.id, n: 0n, note: null } },
    { table: 'shop.made', op: 'delete', before: { id: ROW.id, n: 1n }, after: {} },
  ]);
  assert.throws(() => run(plan, each((row) => row.derive('shop.made', { m: 1 })), [change.insert(ROW)]), /`shop\.made` has no column `m`/);
});

test('columns are read and set at once', () => {
  const plan = (plan) => all(plan).adds('region', 'text').adds('twice', 'int64');
  const [kept, dropped] = run(plan, (batch) => {
    const spans = batch.numbers('span');
    batch.keep((row) => spans[row] < 0);
    batch.setAll('region', 'eu');
    batch.setEach('twice', [2n, undefined]);
    batch.rewriteTexts('name', (text) => text.toUpperCase());
    batch.routeAll('rest');
    batch.routeBy((row) => (row === 0 ? 'first' : undefined));
  }, [change.update({ ...ROW, name: null }, ROW), change.insert({ ...ROW, span: 1n, name: null })]);
  assert.deepEqual([kept.after.region, kept.after.twice, kept.after.name, kept.before.name, kept.topics], ['eu', 2n, 'ZOÉ', null, ['first']]);
  assert.deepEqual([dropped.dropped, dropped.after.twice, dropped.after.name, dropped.topics], [true, undefined, null, ['rest']]);
  assert.throws(() => run(all, (batch) => batch.numbers('id'), [change.insert(ROW)]), /column `id` has an integer beyond 2\^53/);
});

test('buffers are read and replaced', () => {
  const plan = (plan) => plan.reads('id', 'name').textsAsBytes();
  const [one, two] = run(plan, (batch) => {
    const { words } = batch.buffers('id');
    assert.deepEqual([words.length, BigInt(words[1]) * 0x100000000n + BigInt(words[0] >>> 0)], [4, ROW.id]);
    assert.equal(batch.buffers('name').nulls[0] & 3, 1);
    assert.deepEqual(batch.values('name'), [ROW.name, null]);
    const routes = batch.routes(['a', 'b']);
    routes[0] = 1;
    batch.drop(1);
    batch.rewriteBuffers('name', ({ offsets }) => ({ offsets: Int32Array.of(0, 2, 2), data: new TextEncoder().encode('é'.repeat(offsets.length - 2)) }));
  }, [change.insert(ROW), change.insert({ ...ROW, name: null })]);
  assert.deepEqual([one.after.name, one.topics, one.dropped], ['é', ['b'], false]);
  assert.deepEqual([two.after.name, two.topics, two.dropped], [null, undefined, true]);
  assert.throws(() => run(all, (batch) => batch.buffers('name'), [change.insert(ROW)]), /`textsAsBytes` asks for buffers/);
});

test('dates are numbers, and Date where it is asked for', () => {
  const seen = [];
  const look = each((row) => {
    seen.push(row.date('day').toISOString(), row.date('seen').toISOString(), Number.isNaN(row.date('at').getTime()));
    row.set('day', new Date('2024-02-29T12:00:00Z'));
    row.set('at', new Date('2024-02-29T12:00:00.5Z'));
  });
  const [row] = run(all, look, [change.insert(ROW)]);
  assert.deepEqual(seen, ['2023-11-15T00:00:00.000Z', '2023-11-14T22:13:20.000Z', true]);
  assert.deepEqual([row.after.day, row.after.at], [BigInt(Date.UTC(2024, 1, 29)), BigInt(Date.UTC(2024, 1, 29, 12)) * 1000n + 500_000n]);
  assert.equal(toDate('datetime', -1n).getTime(), -1);
});

test('metadata is what the plan asks for', () => {
  const plan = (plan) => all(plan).readsMetadata('position', 'place').adds('where', 'text');
  const [row] = run(plan, each((row) => row.set('where', `${row.metadata('position')}/${row.metadata('place')}`)), [change.insert(ROW)], types, {
    position: 'binlog.000001:4', place: 7n,
  });
  assert.equal(row.after.where, 'binlog.000001:4/7');
  assert.throws(() => run(all, each((row) => row.metadata('place')), [change.insert(ROW)]), /does not read the metadata place/);
});

test('tables and operations that are not asked for pass by', () => {
  const drop = each((row) => row.drop());
  const [inserted, deleted] = run((plan) => plan.ops('delete'), drop, [change.insert(ROW), change.delete(ROW)]);
  assert.deepEqual([inserted.dropped, deleted.dropped], [false, true]);
  assert.equal(run(() => undefined, drop, [change.insert(ROW)])[0].dropped, false);
});

test('an exception names its file, line and row; a PluginError is its message', () => {
  class Plugin {
    constructor({ word }) { this.word = word; }
    bind() { return new Plan().reads('id'); }
    process(batch) {
      for (const row of batch.rows()) if (row.index === 1) throw this.word === 'error' ? new PluginError('refused') : new TypeError('thrown');
    }
  }
  const thrown = (word) => {
    const { configure, bind, process } = guest(Plugin);
    configure(JSON.stringify({ word }));
    bind({ ...types, id: 3 });
    const id = { kind: 1, nulls: new Uint8Array(), present: new Uint8Array(), data: { tag: 'words', val: new Uint8Array(16) } };
    const batch = { rows: 2, ops: [0, 0], columns: [{ index: 0, image: 0, vector: id }], metadata: [] };
    try { process(3, batch); } catch (error) { return error; }
  };
  assert.equal(thrown('error'), 'refused');
  assert.match(thrown('throw'), /^TypeError: thrown \(at .*plugin\.test\.js:\d+:\d+ in .*process.*, row 1 of the batch\)$/);
});
