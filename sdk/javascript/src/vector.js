// Columns of values: reading those that the host passes, making those that it gets.

import { KINDS, isInt64, isText } from './kinds.js';

const EMPTY = new Uint8Array();

export const bitmap = (rows) => new Uint8Array((rows + 7) >> 3);
export const bit = (bits, i) => (bits[i >> 3] >> (i & 7)) & 1;

/** The text of bytes that are UTF-8. */
function utf8(bytes) {
  let latin1 = '';
  // As many arguments as a call can have on the engine's small stack.
  for (let at = 0; at < bytes.length; at += 1024) latin1 += String.fromCharCode.apply(null, bytes.subarray(at, at + 1024));
  return bytes.some((byte) => byte > 127) ? decodeURIComponent(escape(latin1)) : latin1;
}

/** Words are passed as bytes; an array of words must begin at a multiple of 8. */
function words(bytes, Words) {
  const at = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  return new Words(at.buffer, at.byteOffset, at.byteLength / Words.BYTES_PER_ELEMENT);
}

/** The values of a vector as something with an index, whatever stands where there is none. */
function unmasked({ kind, data }, rows) {
  if (data.tag === 'strings') return data.val;
  if (data.tag === 'words') {
    return words(data.val, KINDS[kind] === 'uint64' ? BigUint64Array : KINDS[kind] === 'float64' ? Float64Array : BigInt64Array);
  }
  const values = new Array(rows);
  if (data.tag === 'bits') {
    for (let row = 0; row < rows; row++) values[row] = bit(data.val, row) === 1;
  } else {
    const { data: bytes } = data.val;
    const offsets = words(data.val.offsets, Int32Array);
    for (let row = 0; row < rows; row++) values[row] = bytes.subarray(offsets[row], offsets[row + 1]);
    if (isText(kind)) return values.map(utf8);
  }
  return values;
}

/** One value a row, as something with an index: `null` is NULL, `undefined` is absent. */
export function valuesOf(vector, rows) {
  const { nulls, present } = vector;
  const all = unmasked(vector, rows);
  if (nulls.length === 0) return all;
  const values = new Array(rows);
  for (let row = 0; row < rows; row++) {
    values[row] = bit(nulls, row) ? all[row] : present.length === 0 || bit(present, row) ? null : undefined;
  }
  return values;
}

/** The buffers of a vector; see `Buffers` of index.d.ts. */
export function buffersOf({ nulls, present, data: { tag, val } }) {
  if (tag === 'words') return { nulls, present, words: words(val, Int32Array) };
  if (tag === 'packed') return { nulls, present, offsets: words(val.offsets, Int32Array), data: val.data };
  if (tag === 'bits') return { nulls, present, data: val };
  throw new Error('the texts of this plan are strings: `textsAsBytes` asks for buffers');
}

/** The whole numbers of a vector that has one in every row; `undefined`: it is not so, or one is beyond 2^53. */
export function safeIntegers({ kind, nulls, data }, rows) {
  if (nulls.length > 0 || data.tag !== 'words' || KINDS[kind] === 'float64') return undefined;
  // Halves of words, because a bigint for each takes as long as all the rest.
  const halves = words(data.val, Int32Array);
  const numbers = new Array(rows);
  for (let row = 0; row < rows; row++) {
    const high = halves[row * 2 + 1];
    if (high >= 0x200000 || high < -0x1fffff) return undefined;
    numbers[row] = high * 0x100000000 + (halves[row * 2] >>> 0);
  }
  // A uint64 whose highest bit is set is beyond 2^53, and negative here.
  return KINDS[kind] === 'uint64' && numbers.some((number) => number < 0) ? undefined : numbers;
}

/** A value of a column of numbers as a number; an integer that would be rounded is an error. */
export function number(value, name) {
  if (value == null || typeof value === 'number') return value;
  if (typeof value !== 'bigint') throw new TypeError(`column \`${name}\` is not made of numbers`);
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

/** What `typeof` says of the values of a kind. */
const typeOf = (kind) => {
  if (isText(kind)) return 'string';
  if (KINDS[kind] === 'boolean') return 'boolean';
  return KINDS[kind] === 'float64' ? 'number' : 'object';
};

/** Values of one column that are set one by one. */
export class Cells {
  /** `name` is for errors. */
  constructor(rows, kind, name) {
    this.rows = rows;
    this.kind = kind;
    this.name = name;
    this.type = typeOf(kind);
    /** `null` is NULL; `undefined` was not set. */
    this.values = new Array(rows).fill(undefined);
  }

  set(row, value) {
    this.values[row] = typeof value === this.type && this.type !== 'object' ? value : this.fitting(value);
  }

  /** The value as this column has it. */
  fitting(value) {
    if (value === null || typeof value === this.type && this.type !== 'object') return value;
    const { kind } = this;
    const isBytes = KINDS[kind] === 'bytes';
    const made = this.type !== 'object' ? undefined : !isBytes ? integer(value, kind) : value instanceof Uint8Array ? value : undefined;
    if (made === undefined) throw new TypeError(`column \`${this.name}\` is ${KINDS[kind]}; the value is ${described(value)}`);
    return made;
  }

  /** The bitmap of the rows that were set; empty: all. */
  setRows() {
    return this.bitmapOf((value) => value !== undefined);
  }

  /** The bitmap of the rows for which `is` is true; empty: it is for all. */
  bitmapOf(is) {
    let bits = EMPTY;
    this.values.forEach((value, row) => {
      if (is(value)) return;
      if (bits === EMPTY) bits = bitmap(this.rows).fill(0xff);
      bits[row >> 3] &= ~(1 << (row & 7));
    });
    return bits;
  }

  isEmpty() {
    return this.values.every((value) => value === undefined);
  }

  /** As the host wants it. What is not set counts as NULL, which says nothing where it is absent, too. */
  vector(present = EMPTY) {
    // Texts that are all there need no second look.
    const isWhole = this.type === 'string' && !this.values.includes(undefined) && !this.values.includes(null);
    const nulls = isWhole ? EMPTY : this.bitmapOf((value) => value !== undefined && value !== null);
    return { kind: this.kind, nulls, present, data: this.buffer(nulls) };
  }

  buffer(nulls) {
    const { kind, rows } = this;
    const rest = this.type === 'string' ? '' : KINDS[kind] === 'bytes' ? EMPTY : this.type === 'object' ? 0n : this.type === 'number' ? 0 : false;
    const values = nulls.length === 0 ? this.values : this.values.map((value) => value ?? rest);
    if (this.type === 'string') return { tag: 'strings', val: values };
    if (this.type === 'boolean') {
      const bits = bitmap(rows);
      values.forEach((value, row) => value && (bits[row >> 3] |= 1 << (row & 7)));
      return { tag: 'bits', val: bits };
    }
    if (KINDS[kind] !== 'bytes') {
      const Words = this.type === 'number' ? Float64Array : KINDS[kind] === 'uint64' ? BigUint64Array : BigInt64Array;
      return { tag: 'words', val: new Uint8Array(new Words(values).buffer) };
    }
    const offsets = new Uint8Array((rows + 1) * 4);
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
