// The patches that a batch collects, as the host wants them.

import { AFTER, BEFORE } from './kinds.js';
import { Cells, bitmap } from './vector.js';

const EMPTY = new Uint8Array();
/** Stands where nothing was set; never set itself. */
const NONE = new Map();
/** Index that leaves a row's topics as they are. */
const UNROUTED = 0xffff;

function checkLists(count) {
  if (count > UNROUTED) throw new Error(`one batch can name ${UNROUTED} lists of topics`);
}

export class Patches {
  constructor(rows) {
    this.rows = rows;
    this.kept = undefined;
    this.ops = undefined;
    this.ready = [];
    /** By image code, then by name. */
    this.cells = [NONE, NONE];
    this.lists = [];
    this.listOf = NONE;
    this.routes = undefined;
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

  /** New cells of a column's image. */
  column({ index, kind, name }, image) {
    const cells = new Cells(this.rows, kind, name);
    cells.index = index;
    if (this.cells[image] === NONE) this.cells[image] = new Map();
    this.cells[image].set(name, cells);
    return cells;
  }

  /** To one topic. */
  route(row, topic) {
    (this.routes ?? this.routesOfRows())[row] = this.listOf.get(topic) ?? this.newList(topic, [topic]);
  }

  routeAll(row, topics) {
    const key = topics.join('\0');
    this.routesOfRows()[row] = this.listOf.get(key) ?? this.newList(key, topics);
  }

  routesOfRows() {
    this.routes ??= new Uint16Array(this.rows).fill(UNROUTED);
    return this.routes;
  }

  /** The first lists, one a topic. They go by number: calls that name a topic make lists of their own. */
  routesAmong(topics) {
    checkLists(topics.length);
    this.lists = topics.map((topic) => [topic]);
    return this.routesOfRows();
  }

  newList(key, topics) {
    const list = this.lists.push(topics) - 1;
    checkLists(list + 1);
    if (this.listOf === NONE) this.listOf = new Map();
    this.listOf.set(key, list);
    return list;
  }

  routing() {
    if (this.routes === undefined) return this.all === undefined ? { tag: 'unchanged' } : { tag: 'all', val: this.all };
    if (this.all !== undefined) {
      const rest = this.lists.push(this.all) - 1;
      this.routes.forEach((list, row) => list === UNROUTED && (this.routes[row] = rest));
    }
    return { tag: 'by-row', val: { lists: this.lists, rows: new Uint8Array(this.routes.buffer) } };
  }

  finish(derived) {
    const assigns = this.ready;
    for (const image of [AFTER, BEFORE]) {
      if (this.cells[image] === NONE) continue;
      for (const cells of this.cells[image].values()) {
        const vector = cells.vector();
        // A column without NULLs was set in every row.
        const rows = vector.nulls.length === 0 ? EMPTY : cells.setRows();
        assigns.push({ index: cells.index, image, rows, values: { tag: 'each', val: vector } });
      }
    }
    return {
      keep: this.kept ?? EMPTY,
      ops: this.ops ?? EMPTY,
      assigns,
      routing: this.routing(),
      errors: this.errors,
      derived,
      attributes: [],
    };
  }
}
