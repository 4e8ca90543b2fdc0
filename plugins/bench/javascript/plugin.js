// The same as ../src/lib.rs, which says what it is for.

import { Plan } from 'tidegate-plugin';

const TOPICS = ['part-0', 'part-1', 'part-2', 'part-3', 'part-4', 'part-5', 'part-6', 'part-7'];

const isFiltered = (value) => value != null && value % 16 === 0;
const topic = (value) => TOPICS[(((value ?? 0) % 8) + 8) % 8];
const isValue = (nulls, row) => nulls.length === 0 || (nulls[row >> 3] >> (row & 7)) & 1;
const mask = (text) => `${text === '' ? '' : String.fromCodePoint(text.codePointAt(0))}***`;

/** The same of a column: of each text the first character, and three stars. */
function masked({ offsets, data }) {
  const rows = offsets.length - 1;
  const ends = new Int32Array(rows + 1);
  const out = new Uint8Array(rows * 7).fill(42);
  let end = 0;
  let at = 0;
  for (let row = 1; row <= rows; row++) {
    const next = offsets[row];
    if (at < next) {
      let byte = data[at];
      out[end++] = byte;
      if (byte > 127) while (++at < next && ((byte = data[at]) & 0xc0) === 0x80) out[end++] = byte;
    }
    ends[row] = end += 3;
    at = next;
  }
  return { offsets: ends, data: out.subarray(0, end) };
}

export default class Bench {
  constructor({ filter, mask, route, view = 'columns' }) {
    this.names = { filter, mask, route };
    this.view = view;
  }

  bind(table) {
    const { filter, mask, route } = this.names;
    if ([filter, mask, route].some((name) => table.column(name) === undefined)) return undefined;
    const plan = new Plan().readsAfter(filter, route).rewrites(mask).adds('region', 'text');
    return this.view === 'rows' ? plan : plan.textsAsBytes();
  }

  process(batch) {
    if (this.view === 'rows') this.byRow(batch);
    else this.byColumn(batch);
  }

  byColumn(batch) {
    const { words: filter, nulls: filterNulls } = batch.buffers(this.names.filter);
    const { words: route, nulls: routeNulls } = batch.buffers(this.names.route);
    const routes = batch.routes(TOPICS);
    const rows = batch.length;
    // Of both, the lowest bits tell all.
    for (let row = 0, word = 0; row < rows; row++, word += 2) {
      if ((filter[word] & 15) === 0 && isValue(filterNulls, row)) batch.drop(row);
      routes[row] = route[word] & 7;
    }
    if (routeNulls.length > 0) for (let row = 0; row < rows; row++) if (!isValue(routeNulls, row)) routes[row] = 0;
    batch.rewriteBuffers(this.names.mask, masked);
    batch.setAll('region', 'eu');
  }

  byRow(batch) {
    const { filter, mask: masked, route } = this.names;
    for (const row of batch.rows()) {
      if (isFiltered(row.number(filter))) {
        row.drop();
        continue;
      }
      const text = row.get(masked);
      if (text != null) row.set(masked, mask(text));
      row.set('region', 'eu');
      row.route(topic(row.number(route)));
    }
  }
}
