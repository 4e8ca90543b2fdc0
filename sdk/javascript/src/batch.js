// A batch of rows of one relation: read it by column or by row; what is to be changed is collected and handed back at the end.

import { images, Made } from './derived.js';
import { AFTER, BEFORE, DELETE, KINDS, METADATA, OPS, code, isText } from './kinds.js';
import { Patches } from './outcome.js';
import { Row, Rows } from './row.js';
import { Cells, bit, buffersOf, number, safeIntegers, valuesOf } from './vector.js';

export const SIDES = ['own', 'after', 'before'];
const IMAGES = [undefined, AFTER, BEFORE];

/** The values of one side by column, as far as they were read; `image`: which one is set on this side, where it is always the same. */
class View extends Map {
  constructor(side, image) {
    super();
    this.side = side;
    this.image = image;
  }
}

/** A column: which sides the plan reads, and what `setAll` has set last. */
const described = (index, name, kind) => ({ index, name, kind, sides: undefined, constant: undefined, vector: undefined });

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
      this.columns.set(name, described(index, name, KINDS.indexOf(kind)));
    });
    plan.adds.forEach(({ name, kind }, i) => this.columns.set(name, described(relation.columns.length + i, name, kind)));
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
    /** By side, made when they are first looked at. */
    this._views = { own: undefined, after: undefined, before: undefined };
    this._metadata = [];
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
    return new Row(this, row, this._view('own'));
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

  /** The values of a column of a view, as something with an index. */
  _read(name, view) {
    const [ofAfter, ofBefore] = this._images(name, view.side);
    const rows = this.length;
    const after = ofAfter === undefined ? new Array(rows) : valuesOf(ofAfter, rows);
    let values = after;
    if (ofBefore !== ofAfter && this._ops.includes(DELETE)) {
      const before = ofBefore === undefined ? new Array(rows) : valuesOf(ofBefore, rows);
      values = Array.from(this._ops, (op, row) => (op === DELETE ? before[row] : after[row]));
    }
    view.set(name, values);
    return values;
  }

  _view(side) {
    return this._views[side] ?? (this._views[side] = new View(side, IMAGES[code(SIDES, side, 'side')]));
  }

  values(name, side = 'own') {
    const view = this._view(side);
    const values = view.get(name) ?? this._read(name, view);
    return Array.isArray(values) ? values : Array.from(values);
  }

  numbers(name, side = 'own') {
    const [after, before] = this._images(name, this._view(side).side);
    const numbers = after !== undefined && (after === before || !this._ops.includes(DELETE)) ? safeIntegers(after, this.length) : undefined;
    return numbers ?? this.values(name, side).map((value) => number(value, name));
  }

  metadata(word) {
    const at = this._bound.metadata.indexOf(code(METADATA, word, 'metadata'));
    if (at < 0) throw new Error(`the plan does not read the metadata ${word}`);
    this._metadata[at] ??= Array.from(valuesOf(this._wire.metadata[at], this.length));
    return this._metadata[at];
  }

  _derive(origin, table, values, { op = 'insert', before } = {}) {
    const made = this._made.find((one) => one.name === table);
    if (made === undefined) throw new Error(`the plan does not derive the table \`${table}\``);
    const opCode = code(OPS, op, 'operation');
    made.add(origin, opCode, images(opCode, values, before));
  }

  buffers(name, image = 'after') {
    const [vector] = this._images(name, image);
    return vector && buffersOf(vector);
  }

  drop(row) {
    this._patches.drop(row);
  }

  keep(keep) {
    const { length } = this;
    for (let row = 0; row < length; row++) if (!keep(row)) this._patches.drop(row);
  }

  routeAll(...topics) {
    this._patches.all = topics;
  }

  routeBy(topic) {
    const { _patches: patches, length } = this;
    const routes = patches.routesOfRows();
    for (let row = 0; row < length; row++) {
      const name = topic(row);
      if (name !== undefined) routes[row] = patches.listOf.get(name) ?? patches.newList(name, [name]);
    }
  }

  routes(topics) {
    if (this._patches.lists.length > 0) throw new Error('`routes` comes before other calls that route rows');
    return this._patches.routesAmong(topics);
  }

  setAll(name, value) {
    const column = this._column(name);
    // Mostly it is the text of the batch before.
    if (column.constant !== value || typeof value !== 'string') {
      const one = new Cells(1, column.kind, name);
      one.set(0, value);
      column.constant = value;
      column.vector = one.vector();
    }
    this._patches.assign(column.index, AFTER, 'constant', column.vector);
  }

  setEach(name, values) {
    const cells = this._patches.cells[AFTER].get(name) ?? this._patches.column(this._column(name), AFTER);
    if (values.length !== this.length) throw new RangeError(`${values.length} values for ${this.length} rows`);
    for (let row = 0; row < values.length; row++) if (values[row] !== undefined) cells.set(row, values[row]);
  }

  rewriteTexts(name, rewrite) {
    const { index, kind } = this._column(name);
    if (!isText(kind)) throw new TypeError(`column \`${name}\` is ${KINDS[kind]}, which is not text`);
    for (const image of [AFTER, BEFORE]) {
      const vector = this._vector(index, image);
      if (vector === undefined) continue;
      const old = vector.data.tag === 'strings' ? vector.data.val : valuesOf(vector, this.length);
      const texts = new Array(old.length);
      if (vector.nulls.length === 0) for (let row = 0; row < texts.length; row++) texts[row] = rewrite(old[row]);
      else for (let row = 0; row < texts.length; row++) texts[row] = bit(vector.nulls, row) ? rewrite(old[row]) : '';
      this._patches.assign(index, image, 'each', { ...vector, data: { tag: 'strings', val: texts } });
    }
  }

  rewriteBuffers(name, rewrite) {
    const { index, kind } = this._column(name);
    for (const image of [AFTER, BEFORE]) {
      const vector = this._vector(index, image);
      if (vector === undefined) continue;
      const { words, offsets, data } = rewrite(buffersOf(vector));
      const bytes = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      if (kind !== KINDS.indexOf('boolean') && words === undefined && offsets === undefined) throw new TypeError('`rewriteBuffers` returns the buffers that it got, or others');
      const made = words !== undefined ? { tag: 'words', val: bytes(words) }
        : offsets !== undefined ? { tag: 'packed', val: { offsets: bytes(offsets), data } } : { tag: 'bits', val: data };
      this._patches.assign(index, image, 'each', { ...vector, data: made });
    }
  }

  _finish() {
    const derived = this._made.map((made, at) => made.finish(at)).filter((made) => made !== undefined);
    return this._patches.finish(derived);
  }
}
