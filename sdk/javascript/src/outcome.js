// The patches that a batch collects, as the host wants them.

import { Cells, bitmap } from './vector.js';

const EMPTY = new Uint8Array();
/** Index that leaves a row's topics as they are. */
const UNROUTED = 0xffff;

export class Patches {
  constructor(rows) {
    this.rows = rows;
    this.kept = undefined;
    this.ops = undefined;
    this.ready = [];
    this.cells = new Map();
    this.lists = [];
    this.listOf = new Map();
    this.listOfRow = undefined;
    this.all = undefined;
    this.errors = [];
  }

  drop(row) {
    this.kept ??= bitmap(this.rows).fill(0xff);
    this.kept[row >> 3] &= ~(1 << (row & 7));
  }

  setOp(row, code, ops) {
    this.ops ??= ops.slice();
    this.ops[row] = code;
  }

  assign(index, image, tag, vector) {
    this.ready.push({ index, image, rows: EMPTY, values: { tag, val: vector } });
  }

  /** The cells of a column's image. */
  column({ index, kind, name }, image) {
    const key = index * 2 + image;
    let cells = this.cells.get(key);
    if (cells === undefined) this.cells.set(key, (cells = new Cells(this.rows, kind, name)));
    return cells;
  }

  route(row, topics) {
    const key = topics.length === 1 ? topics[0] : topics.join('\0');
    let list = this.listOf.get(key);
    if (list === undefined) {
      list = this.lists.push(topics) - 1;
      if (list >= UNROUTED) throw new Error(`one batch can name ${UNROUTED} lists of topics`);
      this.listOf.set(key, list);
    }
    this.listOfRow ??= new Uint16Array(this.rows).fill(UNROUTED);
    this.listOfRow[row] = list;
  }

  routing() {
    if (this.listOfRow === undefined) return this.all === undefined ? { tag: 'unchanged' } : { tag: 'all', val: this.all };
    if (this.all !== undefined) {
      const rest = this.lists.push(this.all) - 1;
      this.listOfRow.forEach((list, row) => list === UNROUTED && (this.listOfRow[row] = rest));
    }
    return { tag: 'by-row', val: { lists: this.lists, rows: new Uint8Array(this.listOfRow.buffer) } };
  }

  finish(derived) {
    const assigns = this.ready;
    for (const [key, cells] of this.cells) {
      assigns.push({ index: key >> 1, image: key & 1, rows: cells.setRows(), values: { tag: 'each', val: cells.vector() } });
    }
    return {
      keep: this.kept ?? EMPTY,
      ops: this.ops ?? [],
      assigns,
      routing: this.routing(),
      errors: this.errors,
      derived,
      attributes: [],
    };
  }
}
