// What a plugin wants of one relation.

import { KINDS, METADATA, OPS, code, splitName } from './kinds.js';

const WANTS = ['no', 'if-wanted', 'yes'];
const stronger = (a, b) => (WANTS.indexOf(a) > WANTS.indexOf(b) ? a : b);

const addition = ({ name, kind, nullable }) => ({ name, kind, nullable, attributes: [] });
const column = (name, kind, nullable) => ({ name, kind: code(KINDS, kind, `kind of column \`${name}\``), nullable });

/** A table of the plugin's making, of which `row.derive` makes rows. */
export class Derivation {
  constructor(name) {
    this._name = name;
    this._columns = [];
    this._key = [];
  }

  column(name, kind) {
    this._columns.push(column(name, kind, true));
    return this;
  }

  key(name, kind) {
    this._key.push(this._columns.length);
    this._columns.push(column(name, kind, false));
    return this;
  }

  _finish() {
    const [schema, table] = splitName(this._name);
    return { schema, table, columns: this._columns.map(addition), key: this._key, attributes: [] };
  }
}

export class Plan {
  constructor() {
    this._ops = [0, 1, 2, 3];
    this._reads = [];
    this._metadata = [];
    this._adds = [];
    this._drops = [];
    this._renames = [];
    this._derives = [];
    this._layout = 'strings';
  }

  ops(...ops) {
    this._ops = ops.map((op) => code(OPS, op, 'operation'));
    return this;
  }

  _read(names, after, before) {
    for (const name of names) this._reads.push({ name, after, before });
    return this;
  }

  reads(...names) {
    return this._read(names, 'yes', 'yes');
  }

  readsAfter(...names) {
    return this._read(names, 'yes', 'no');
  }

  readsBefore(...names) {
    return this._read(names, 'no', 'yes');
  }

  rewrites(...names) {
    return this._read(names, 'yes', 'if-wanted');
  }

  readsMetadata(...metadata) {
    this._metadata.push(...metadata.map((word) => code(METADATA, word, 'metadata')));
    return this;
  }

  adds(name, kind) {
    this._adds.push(column(name, kind, true));
    return this;
  }

  addsNotNull(name, kind) {
    this._adds.push(column(name, kind, false));
    return this;
  }

  drops(...names) {
    this._drops.push(...names);
    return this;
  }

  renames(name, to) {
    this._renames.push({ from: name, name: to });
    return this;
  }

  textsAsBytes() {
    this._layout = 'packed';
    return this;
  }

  derives(table) {
    this._derives.push(table);
    return this;
  }

  /** As the host wants it. */
  _finish(relation) {
    const index = (name) => {
      const at = relation.columns.findIndex((c) => c.name === name);
      if (at < 0) throw new Error(`${relation.schema}.${relation.table} has no column \`${name}\``);
      return at;
    };
    const reads = new Map();
    for (const { name, after, before } of this._reads) {
      const at = index(name);
      const same = reads.get(at) ?? { index: at, after: 'no', before: 'no' };
      reads.set(at, { index: at, after: stronger(same.after, after), before: stronger(same.before, before) });
    }
    return {
      ops: Uint8Array.from(this._ops),
      reads: [...reads.values()],
      metadata: Uint8Array.from(this._metadata),
      layout: this._layout,
      adds: this._adds.map(addition),
      drops: this._drops.map(index),
      renames: this._renames.map(({ from, name }) => ({ index: index(from), name })),
      derives: this._derives.map((table) => table._finish()),
      attributes: [],
    };
  }
}
