// Rows that a plugin makes of others.

import { AFTER, BEFORE, DELETE } from './kinds.js';
import { Cells } from './vector.js';

/** The rows of one derived table that were made of a batch, in the order of their making. */
export class Made {
  constructor(derivation) {
    this.name = `${derivation.schema}.${derivation.table}`;
    this.columns = new Map(derivation.columns.map((column, index) => [column.name, { ...column, index }]));
    this.rows = [];
  }

  /** `images` by image code: an object of values by column name, or undefined. */
  add(origin, op, images) {
    for (const image of images) {
      for (const name in image) {
        if (!this.columns.has(name)) throw new Error(`the derived table \`${this.name}\` has no column \`${name}\``);
      }
    }
    this.rows.push({ origin, op, images });
  }

  /** As the host wants them, by the rows that they come from; `undefined`: there are none. */
  finish(derivation) {
    if (this.rows.length === 0) return undefined;
    const rows = this.rows.sort((a, b) => a.origin - b.origin);
    const columns = [];
    for (const [name, { index, kind }] of this.columns) {
      for (const image of [AFTER, BEFORE]) {
        const cells = new Cells(rows.length, kind, name);
        rows.forEach(({ images }, row) => {
          const value = images[image]?.[name];
          if (value !== undefined) cells.set(row, value);
        });
        if (!cells.isEmpty()) columns.push({ index, image, vector: cells.vector(cells.setRows()) });
      }
    }
    const origins = Uint32Array.from(rows, (row) => row.origin);
    return { derivation, origins: new Uint8Array(origins.buffer), ops: Uint8Array.from(rows, (row) => row.op), columns };
  }
}

/** The images of a derived row: a delete's values are its key, before. */
export const images = (op, values, before) => (op === DELETE ? [undefined, values] : [values, before]);
