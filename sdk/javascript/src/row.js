// Rows of a batch, one by one.

import { toDate } from './dates.js';
import { AFTER, BEFORE, DELETE, KINDS, OPS, code } from './kinds.js';
import { number } from './vector.js';

export class Row {
  constructor(batch, index, view) {
    this._batch = batch;
    this.index = index;
    this._view = view;
  }

  get op() {
    return OPS[this._batch._ops[this.index]];
  }

  get after() {
    return new Row(this._batch, this.index, this._batch._view('after'));
  }

  get before() {
    return new Row(this._batch, this.index, this._batch._view('before'));
  }

  get(name) {
    return (this._view.get(name) ?? this._batch._read(name, this._view))[this.index];
  }

  number(name) {
    return number(this.get(name), name);
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
    return this._batch.metadata(word)[this.index];
  }

  set(name, value) {
    const batch = this._batch;
    const image = this._view.image ?? (batch._ops[this.index] === DELETE ? BEFORE : AFTER);
    const cells = batch._patches.cells[image].get(name) ?? batch._patches.column(batch._column(name), image);
    cells.set(this.index, value);
  }

  setOp(op) {
    this._batch._patches.setOp(this.index, code(OPS, op, 'operation'), this._batch._ops);
  }

  drop() {
    this._batch._patches.drop(this.index);
  }

  route(topic, ...more) {
    if (topic !== undefined && more.length === 0) this._batch._patches.route(this.index, topic);
    else this._batch._patches.routeAll(this.index, topic === undefined ? [] : [topic, ...more]);
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
    this._view = batch._view('own');
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
      this.value = new Row(batch, this._next++, this._view);
    } else {
      batch._at = undefined;
      this.done = true;
      this.value = undefined;
    }
    return this;
  }
}
