// The same as ../src/lib.rs, which says what it is for.

import { Plan } from 'tidegate-plugin';

const TOPICS = ['part-0', 'part-1', 'part-2', 'part-3', 'part-4', 'part-5', 'part-6', 'part-7'];

const isFiltered = (value) => value != null && value % 16 === 0;
const topic = (value) => TOPICS[(((value ?? 0) % 8) + 8) % 8];
const mask = (text) => `${text === '' ? '' : String.fromCodePoint(text.codePointAt(0))}***`;

export default class Bench {
  constructor({ filter, mask, route, view = 'columns' }) {
    this.names = { filter, mask, route };
    this.view = view;
  }

  bind(table) {
    const { filter, mask, route } = this.names;
    if ([filter, mask, route].some((name) => table.column(name) === undefined)) return undefined;
    return new Plan().readsAfter(filter, route).rewrites(mask).adds('region', 'text');
  }

  process(batch) {
    if (this.view === 'rows') this.byRow(batch);
    else this.byColumn(batch);
  }

  byColumn(batch) {
    const filter = batch.numbers(this.names.filter);
    const route = batch.numbers(this.names.route);
    batch.keep((row) => !isFiltered(filter[row]));
    batch.rewriteTexts(this.names.mask, mask);
    batch.setAll('region', 'eu');
    batch.routeBy((row) => topic(route[row]));
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
