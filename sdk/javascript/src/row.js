// Rows of a batch, one by one.

import { toDate } from './dates.js';
import { KINDS, OPS, code } from './kinds.js';
import { exact } from './vector.js';

export class Row {
  constructor(batch, index, side) {
    this._batch = batch;
    this.index = index;
    this._side = side;
  }

  get op() {
    return OPS[this._batch._ops[this.index]];
  }

  get after() {
    return new Row(this._batch, this.index, 'after');
  }

  get before() {
    return new Row(this._batch, this.index, 'before');
  }

  get(name) {
    return this._batch._reader(name, this._side)(this.index);
  }

  number(name) {
    const value = this.get(name);
    if (value == null || typeof value === 'number') return value;
    if (typeof value !== 'bigint') throw new TypeError(`column \`${name}\` is not made of numbers`);
    return exact(value, name);
  }

  date(name) {
    const value = this.get(name);
    return value == null ? value : toDate(KINDS[this._batch._column(name).kind], value);
  }

  has(name) {
    return this.get(name) !== undefined;
  }

  isNull(name) {
    return this.get(name) === null;
  }

  metadata(word) {
    return this._batch._metadata(word)(this.index);
  }

  set(name, value) {
    this._batch._set(this.index, name, this._side, value);
  }

  setOp(op) {
    this._batch._patches.setOp(this.index, code(OPS, op, 'operation'), this._batch._ops);
  }

  drop() {
    this._batch._patches.drop(this.index);
  }

  route(...topics) {
    this._batch._patches.route(this.index, topics);
  }

  derive(table, values, options) {
    this._batch._derive(this.index, table, values, options);
  }

  fail(message) {
    this._batch._patches.errors.push({ row: this.index, message: String(message) });
  }
}

/** Iterates over the rows of a batch, and notes which one it is at. */
export class Rows {
  constructor(batch) {
    this._batch = batch;
    this._next = 0;
    this.done = false;
    this.value = undefined;
  }

  [Symbol.iterator]() {
    return this;
  }

  // It is its own result: no other is made a row.
  next() {
    const batch = this._batch;
    if (this._next < batch._wire.rows) {
      batch._at = this._next;
      this.value = new Row(batch, this._next++, 'own');
    } else {
      batch._at = undefined;
      this.done = true;
      this.value = undefined;
    }
    return this;
  }
}
