// A batch of rows of one relation: read it by column or by row; what is to be changed is collected and handed back at the end.

import { images, Made } from './derived.js';
import { AFTER, BEFORE, DELETE, KINDS, METADATA, OPS, code, isText } from './kinds.js';
import { Patches } from './outcome.js';
import { Row, Rows } from './row.js';
import { Cells, bitmap, exact, reader, whole } from './vector.js';

export const SIDES = ['own', 'after', 'before'];
const absent = () => undefined;

/** A relation and what was asked of it. */
export class Bound {
  constructor(relation, plan) {
    this.relation = relation;
    this.name = `${relation.schema}.${relation.table}`;
    this.derives = plan.derives;
    this.metadata = [...plan.metadata];
    /** All columns by name: those of the relation, then those added. */
    this.columns = new Map();
    relation.columns.forEach(({ name, kind }, index) => {
      this.columns.set(name, { index, name, kind: KINDS.indexOf(kind), sides: undefined });
    });
    plan.adds.forEach(({ name, kind }, i) => this.columns.set(name, { index: relation.columns.length + i, name, kind, sides: undefined }));
    const byIndex = [...this.columns.values()];
    for (const { index, after, before } of plan.reads) {
      byIndex[index].sides = { own: after !== 'no' || before !== 'no', after: after !== 'no', before: before !== 'no' };
    }
  }
}

export class Batch {
  constructor(bound, wire) {
    this._bound = bound;
    this._wire = wire;
    this._ops = wire.ops;
    this._readers = { own: new Map(), after: new Map(), before: new Map() };
    this._patches = new Patches(wire.rows);
    this._made = bound.derives.map((derivation) => new Made(derivation));
    /** The row that the row view is at. */
    this._at = undefined;
  }

  get relation() {
    return this._bound.relation;
  }

  get length() {
    return this._wire.rows;
  }

  op(row) {
    return OPS[this._ops[row]];
  }

  rows() {
    return new Rows(this);
  }

  row(row) {
    if (!(row >= 0 && row < this.length)) throw new RangeError(`row ${row} of ${this.length}`);
    return new Row(this, row, 'own');
  }

  _column(name) {
    const column = this._bound.columns.get(name);
    if (column === undefined) throw new Error(`${this._bound.name} has no column \`${name}\``);
    return column;
  }

  _vector(index, image) {
    return this._wire.columns.find((c) => c.index === index && c.image === image)?.vector;
  }

  /** The vectors of a column on a side, by image code. */
  _images(name, side) {
    const { index, sides } = this._column(name);
    if (sides === undefined) throw new Error(`the plan does not read the column \`${name}\``);
    if (!sides[side]) {
      if (!SIDES.includes(side)) throw new Error(`side ${side}: it is one of ${SIDES.join(', ')}`);
      throw new Error(`the plan does not read the column \`${name}\` ${side} the change`);
    }
    if (side !== 'own') {
      const vector = this._vector(index, side === 'after' ? AFTER : BEFORE);
      return [vector, vector];
    }
    return [this._vector(index, AFTER), this._vector(index, BEFORE)];
  }

  /** A function from row to value. */
  _reader(name, side) {
    const known = this._readers[side]?.get(name);
    if (known !== undefined) return known;
    const [ofAfter, ofBefore] = this._images(name, side);
    const after = ofAfter === undefined ? absent : reader(ofAfter);
    let read = after;
    if (ofBefore !== ofAfter && this._ops.includes(DELETE)) {
      const before = ofBefore === undefined ? absent : reader(ofBefore);
      const ops = this._ops;
      read = (row) => (ops[row] === DELETE ? before(row) : after(row));
    }
    this._readers[side].set(name, read);
    return read;
  }

  values(name, side = 'own') {
    const [after, before] = this._images(name, side);
    const all = after !== undefined && (after === before || !this._ops.includes(DELETE)) ? whole(after) : undefined;
    if (all !== undefined) return Array.isArray(all) ? all : Array.from(all);
    const read = this._reader(name, side);
    const values = new Array(this.length);
    for (let row = 0; row < values.length; row++) values[row] = read(row);
    return values;
  }

  numbers(name, side = 'own') {
    const values = this.values(name, side);
    for (let row = 0; row < values.length; row++) {
      const value = values[row];
      if (typeof value === 'bigint') values[row] = exact(value, name);
      else if (value != null && typeof value !== 'number') throw new TypeError(`column \`${name}\` is not made of numbers`);
    }
    return values;
  }

  metadata(word) {
    const read = this._metadata(word);
    return Array.from({ length: this.length }, (_, row) => read(row));
  }

  _metadata(word) {
    const at = this._bound.metadata.indexOf(code(METADATA, word, 'metadata'));
    if (at < 0) throw new Error(`the plan does not read the metadata ${word}`);
    return reader(this._wire.metadata[at]);
  }

  _set(row, name, side, value) {
    const image = side === 'before' || (side === 'own' && this._ops[row] === DELETE) ? BEFORE : AFTER;
    this._patches.column(this._column(name), image).set(row, value);
  }

  _derive(origin, table, values, { op = 'insert', before } = {}) {
    const made = this._made.find((one) => one.name === table);
    if (made === undefined) throw new Error(`the plan does not derive the table \`${table}\``);
    const opCode = code(OPS, op, 'operation');
    made.add(origin, opCode, images(opCode, values, before));
  }

  keep(keep) {
    const kept = bitmap(this.length);
    for (let row = 0; row < this.length; row++) if (keep(row)) kept[row >> 3] |= 1 << (row & 7);
    const { _patches: patches } = this;
    patches.kept = patches.kept === undefined ? kept : patches.kept.map((byte, at) => byte & kept[at]);
  }

  routeAll(...topics) {
    this._patches.all = topics;
  }

  routeBy(topic) {
    for (let row = 0; row < this.length; row++) {
      const name = topic(row);
      if (name !== undefined) this._patches.route(row, [name]);
    }
  }

  setAll(name, value) {
    const { index, kind } = this._column(name);
    const one = new Cells(1, kind, name);
    one.set(0, value);
    this._patches.assign(index, AFTER, 'constant', one.vector());
  }

  setEach(name, values) {
    const cells = this._patches.column(this._column(name), AFTER);
    if (values.length !== this.length) throw new RangeError(`${values.length} values for ${this.length} rows`);
    for (let row = 0; row < values.length; row++) if (values[row] !== undefined) cells.set(row, values[row]);
  }

  rewriteTexts(name, rewrite) {
    const { index, kind } = this._column(name);
    if (!isText(kind)) throw new TypeError(`column \`${name}\` is ${KINDS[kind]}, which is not text`);
    for (const image of [AFTER, BEFORE]) {
      const vector = this._vector(index, image);
      if (vector === undefined) continue;
      const { nulls } = vector;
      const read = nulls.length === 0 ? undefined : reader(vector);
      const old = vector.data.val;
      const texts = new Array(old.length);
      for (let row = 0; row < texts.length; row++) {
        texts[row] = read === undefined || typeof read(row) === 'string' ? rewrite(old[row]) : '';
      }
      this._patches.assign(index, image, 'each', { ...vector, data: { tag: 'strings', val: texts } });
    }
  }

  _finish() {
    const derived = this._made.map((made, at) => made.finish(at)).filter((made) => made !== undefined);
    return this._patches.finish(derived);
  }
}
