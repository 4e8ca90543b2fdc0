// Numbers the changes of each row, as ../src/lib.rs does; either goes on where the other stopped.

import { Plan, PluginError } from 'tidegate-plugin';
import { state } from 'tidegate-plugin/state';

export default class Numbering {
  constructor({ tables, column }) {
    if (tables === undefined || column === undefined) throw new PluginError('`tables` or `column` is missing');
    this.tables = tables;
    this.column = column;
  }

  bind(table) {
    if (!this.tables.includes(`${table.schema}.${table.table}`)) return undefined;
    if (table.key.length === 0) throw new PluginError('it has no key, so its rows cannot be told apart');
    return new Plan().reads(...table.key).adds(this.column, 'int64');
  }

  process(batch) {
    const { schema, table, key } = batch.relation;
    const columns = key.map((name) => batch.values(name));
    const keys = Array.from({ length: batch.length }, (_, row) => joined([schema, table, ...columns.map((values) => values[row])]));
    // A Map tells arrays apart by their identity, so by texts; each once.
    const names = keys.map(String);
    const last = new Map();
    state.getAll(keys).forEach((value, row) => last.set(names[row], { key: keys[row], number: value && toBigInt(value) }));
    for (const row of batch.rows()) {
      const entry = last.get(names[row.index]);
      if (row.op === 'delete') entry.number = undefined;
      else entry.number = row.op === 'update' ? (entry.number ?? 0n) + 1n : 1n;
      if (entry.number !== undefined) row.set(this.column, entry.number);
    }
    state.put(Array.from(last.values(), ({ key, number }) => [key, number === undefined ? undefined : toBytes(number)]));
  }
}

/** The parts, each with its length in front. */
function joined(parts) {
  const bytes = [];
  for (const part of parts) {
    const own = typeof part === 'bigint' ? toBytes(part) : part === null ? [] : part instanceof Uint8Array ? part : utf8(String(part));
    bytes.push(own.length & 255, (own.length >> 8) & 255, (own.length >> 16) & 255, own.length >>> 24, ...own);
  }
  return Uint8Array.from(bytes);
}

function utf8(text) {
  return Array.from(unescape(encodeURIComponent(text)), (byte) => byte.charCodeAt(0));
}

function toBytes(number) {
  return new Uint8Array(BigInt64Array.of(BigInt.asIntN(64, number)).buffer);
}

function toBigInt(bytes) {
  return new BigInt64Array(bytes.slice().buffer)[0];
}
