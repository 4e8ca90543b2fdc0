// The golden plugin: ../README.md says what it does, ../cases.json holds it. Each row says in `todo` what is to be done with it.

import { Derivation, Plan, PluginError, log } from 'tidegate-plugin';

const MADE = 'golden_made';

export default class Golden {
  constructor({ table, prefix = '' }) {
    if (table === undefined) throw new PluginError('`table` is missing');
    this.table = table;
    this.prefix = prefix;
  }

  bind(table) {
    if (`${table.schema}.${table.table}` !== this.table) return undefined;
    if (table.column('todo') === undefined) throw new PluginError('no column `todo`');
    const plan = new Plan()
      .reads(...table.columns.map((c) => c.name))
      .readsMetadata('position', 'place', 'transaction', 'commit-time');
    for (const { name, kind } of this.copied(table)) plan.adds(`${name}_copy`, kind);
    plan.adds('absent', 'text').adds('op_seen', 'text').adds('seen_at', 'text');
    if (table.column('dropped') !== undefined) plan.drops('dropped');
    if (table.column('renamed') !== undefined) plan.renames('renamed', 'renamed_new');
    return plan.derives(new Derivation(this.made(table)).key('id', 'int64').key('n', 'int64').column('note', 'text'));
  }

  copied(table) {
    return table.columns.filter(({ name }) => name !== 'todo' && !table.key.includes(name));
  }

  made(table) {
    return `${table.schema}.${MADE}`;
  }

  process(batch) {
    const table = batch.relation;
    if (batch.values('todo').every((todo) => todo === 'constant')) {
      batch.setAll('op_seen', 'same');
      return;
    }
    for (const row of batch.rows()) {
      row.set('op_seen', row.op);
      this.act(row, row.get('todo'), table);
    }
  }

  act(row, todo, table) {
    switch (todo) {
      case 'copy':
        for (const { name } of this.copied(table)) {
          if (row.has(name)) row.set(`${name}_copy`, row.get(name));
        }
        row.set('absent', table.columns.filter(({ name }) => !row.has(name)).map(({ name }) => name).join(','));
        break;
      case 'metadata':
        row.set('seen_at', `${row.metadata('position')} ${row.metadata('transaction') ?? 'none'} ${row.metadata('commit-time')}`);
        break;
      case 'drop':
        row.drop();
        break;
      case 'fail':
        row.fail(`row failed: ${this.prefix}`);
        break;
      case 'null':
        for (const { name } of this.copied(table)) row.set(`${name}_copy`, null);
        break;
      case 'route':
        row.route(`${this.prefix}.one`);
        break;
      case 'both':
        row.route(`${this.prefix}.one`, `${this.prefix}.two`);
        break;
      case 'delete':
        row.setOp('delete');
        break;
      case 'keep':
        row.setOp('update');
        break;
      case 'derive':
        row.derive(this.made(table), { id: row.get('id'), n: 0, note: 'a' });
        row.derive(this.made(table), { id: row.get('id'), n: 1, note: null });
        break;
      case 'underive':
        row.derive(this.made(table), { id: row.get('id'), n: 0 }, { op: 'delete' });
        break;
      case 'throw':
        throw new Error('thrown');
      case 'error':
        throw new PluginError('refused');
      case 'log':
        log.info('logged');
        break;
    }
  }
}
