// Columns of values: reading those that the host passes, making those that it gets.

import { KINDS, isInt64, isText } from './kinds.js';

const EMPTY = new Uint8Array();

export const bitmap = (rows) => new Uint8Array((rows + 7) >> 3);
export const bit = (bits, i) => (bits[i >> 3] >> (i & 7)) & 1;

/** Words are passed as bytes; an array of words must begin at a multiple of 8. */
function words(bytes, Words) {
  const at = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  return new Words(at.buffer, at.byteOffset, at.byteLength / 8);
}

/** The values of a vector, as far as they are neither NULL nor absent, as something with an index. */
function values({ kind, data }) {
  switch (data.tag) {
    case 'strings':
      return data.val;
    case 'words':
      return words(data.val, KINDS[kind] === 'uint64' ? BigUint64Array : KINDS[kind] === 'float64' ? Float64Array : BigInt64Array);
    default:
      return undefined;
  }
}

/** A function from row to value: `null` is NULL, `undefined` is absent. */
export function reader(vector) {
  const { nulls, present, data } = vector;
  const array = values(vector);
  let value;
  if (array !== undefined) value = (row) => array[row];
  else if (data.tag === 'bits') value = (row) => bit(data.val, row) === 1;
  else {
    const offsets = new DataView(data.val.offsets.buffer, data.val.offsets.byteOffset, data.val.offsets.byteLength);
    value = (row) => data.val.data.subarray(offsets.getInt32(row * 4, true), offsets.getInt32(row * 4 + 4, true));
  }
  if (nulls.length === 0) return value;
  if (present.length === 0) return (row) => (bit(nulls, row) ? value(row) : null);
  return (row) => (bit(nulls, row) ? value(row) : bit(present, row) ? null : undefined);
}

/** All values of a vector whose rows all have one, without a look at each; otherwise `undefined`. */
export function whole(vector) {
  return vector.nulls.length === 0 ? values(vector) : undefined;
}

/** A 64-bit integer as a number; one that would be rounded is an error. */
export function exact(value, name) {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`column \`${name}\` has an integer beyond 2^53: read it as bigint`);
  return number;
}

const INT64_MIN = -(2n ** 63n);

/** A whole number as a word. */
function integer(value, kind) {
  if (value instanceof Date && isInt64(kind) && KINDS[kind] !== 'int64' && KINDS[kind] !== 'time') {
    value = KINDS[kind] === 'date' ? Math.floor(value.getTime() / 86_400_000) * 86_400_000 : value.getTime() * 1000;
  }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) return undefined;
    value = BigInt(value);
  }
  if (typeof value !== 'bigint') return undefined;
  const fits = KINDS[kind] === 'uint64' ? value >= 0n && value < 2n ** 64n : value >= INT64_MIN && value < -INT64_MIN;
  return fits ? value : undefined;
}

function described(value) {
  if (value === undefined) return 'undefined (NULL is null)';
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return 'a number that is no exact integer';
  if (typeof value === 'number' || typeof value === 'bigint') return `a ${typeof value} that does not fit`;
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Values of one column that are set one by one. */
export class Cells {
  /** `name` is for errors. */
  constructor(rows, kind, name) {
    this.rows = rows;
    this.kind = kind;
    this.name = name;
    this.isSet = bitmap(rows);
    this.nulls = bitmap(rows);
    this.hasNulls = false;
    if (isText(kind)) this.values = new Array(rows).fill('');
    else if (KINDS[kind] === 'bytes') this.values = new Array(rows).fill(EMPTY);
    else if (KINDS[kind] === 'boolean') this.values = bitmap(rows);
    else if (KINDS[kind] === 'float64') this.values = new Float64Array(rows);
    else this.values = KINDS[kind] === 'uint64' ? new BigUint64Array(rows) : new BigInt64Array(rows);
  }

  set(row, value) {
    const at = row >> 3, mask = 1 << (row & 7);
    this.isSet[at] |= mask;
    if (value === null) {
      this.hasNulls = true;
      this.nulls[at] &= ~mask;
      return;
    }
    this.nulls[at] |= mask;
    const { kind } = this;
    if (isText(kind)) {
      if (typeof value !== 'string') this.refuse(value);
      this.values[row] = value;
    } else if (KINDS[kind] === 'boolean') {
      if (typeof value !== 'boolean') this.refuse(value);
      if (value) this.values[at] |= mask;
      else this.values[at] &= ~mask;
    } else if (KINDS[kind] === 'float64') {
      if (typeof value !== 'number') this.refuse(value);
      this.values[row] = value;
    } else if (KINDS[kind] === 'bytes') {
      if (!(value instanceof Uint8Array)) this.refuse(value);
      this.values[row] = value;
    } else {
      const word = integer(value, kind);
      if (word === undefined) this.refuse(value);
      this.values[row] = word;
    }
  }

  refuse(value) {
    throw new TypeError(`column \`${this.name}\` is ${KINDS[this.kind]}; the value is ${described(value)}`);
  }

  /** The bitmap of the rows that were set; empty: all. */
  setRows() {
    const rest = this.rows & 7;
    const last = this.isSet.length - 1;
    const isAll = this.isSet.every((byte, at) => byte === (at === last && rest !== 0 ? (1 << rest) - 1 : 0xff));
    return isAll ? EMPTY : this.isSet;
  }

  /** As the host wants it. */
  vector(present = EMPTY) {
    return { kind: this.kind, nulls: this.hasNulls ? this.nulls : EMPTY, present, data: this.buffer() };
  }

  buffer() {
    const { kind, values } = this;
    if (isText(kind)) return { tag: 'strings', val: values };
    if (KINDS[kind] === 'boolean') return { tag: 'bits', val: values };
    if (KINDS[kind] !== 'bytes') return { tag: 'words', val: new Uint8Array(values.buffer) };
    const offsets = new Uint8Array((values.length + 1) * 4);
    const view = new DataView(offsets.buffer);
    const data = new Uint8Array(values.reduce((sum, value) => sum + value.length, 0));
    let end = 0;
    values.forEach((value, row) => {
      data.set(value, end);
      end += value.length;
      view.setInt32(row * 4 + 4, end, true);
    });
    return { tag: 'packed', val: { offsets, data } };
  }
}
