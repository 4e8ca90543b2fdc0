// For unit tests of plugins: runs one in Node, without WebAssembly.

import { AFTER, BEFORE, KINDS, OPS, splitName } from './kinds.js';
import { Running } from './guest.js';
import { forget } from './state.js';
import { Cells, bit, valuesOf } from './vector.js';

const codeOf = (kind) => KINDS.indexOf(kind);

/** A table `schema.table` with columns by name and kind; the first `key` columns are its key. */
export function table(name, columns, key = 1) {
  const [schema, table] = splitName(name);
  const defs = Object.entries(columns).map(([name, kind]) => {
    if (codeOf(kind) < 0) throw new Error(`kind ${kind} of column \`${name}\``);
    return { name, kind: codeOf(kind), nullable: true, sourceType: kind, attributes: [] };
  });
  return { id: 0, schema, table, columns: defs, key: defs.slice(0, key).map((_, at) => at), attributes: [] };
}

export const change = {
  insert: (after) => ({ op: 'insert', before: undefined, after }),
  update: (before, after) => ({ op: 'update', before, after }),
  delete: (before) => ({ op: 'delete', before, after: undefined }),
  snapshot: (after) => ({ op: 'snapshot', before: undefined, after }),
};

/** One instance of a plugin. */
export class Tester {
  constructor(Plugin, config = {}) {
    forget();
    this._running = new Running(Plugin);
    this._running.configure(JSON.stringify(config));
    this._relations = 0;
  }

  run(table, changes, metadata = {}) {
    const outcomes = changes.map(({ op, before, after }) => ({
      op, dropped: false, before: { ...before }, after: { ...after }, topics: undefined, error: undefined, derived: [],
    }));
    const relation = { ...table, id: this._relations++ };
    const plan = this._running.bind(relation);
    const passed = plan === undefined ? [] : changes.flatMap(({ op }, at) => (plan.ops.includes(OPS.indexOf(op)) ? [at] : []));
    if (passed.length === 0) return outcomes;
    const answer = this._running.process(relation.id, batch(relation, plan, passed.map((at) => changes[at]), metadata));
    const names = [...relation.columns, ...plan.adds].map((c) => c.name);
    passed.forEach((at, row) => apply(outcomes[at], row, passed.length, answer, names, plan.derives));
    return outcomes;
  }
}

const METADATA_KINDS = { position: 'text', place: 'uint64', transaction: 'text', 'commit-time': 'timestamp' };

/** The batch that a host would pass. */
function batch(relation, plan, changes, metadata) {
  const columns = [];
  for (const image of [AFTER, BEFORE]) {
    const images = changes.map((change) => (image === AFTER ? change.after : change.before));
    for (const read of plan.reads) {
      const want = image === AFTER ? read.after : read.before;
      if (want === 'no' || (image === BEFORE && images.every((values) => values === undefined))) continue;
      const { name, kind } = relation.columns[read.index];
      columns.push({ index: read.index, image, vector: vector(images.map((values) => values?.[name]), kind, name, plan.layout) });
    }
  }
  const words = Object.keys(METADATA_KINDS);
  const passed = [...plan.metadata].map((code) => {
    const word = words[code];
    return vector(changes.map(() => metadata[word] ?? null), codeOf(METADATA_KINDS[word]), word, plan.layout);
  });
  return { rows: changes.length, ops: Uint8Array.from(changes, ({ op }) => OPS.indexOf(op)), columns, metadata: passed };
}

/** `undefined` is absent. */
function vector(values, kind, name, layout) {
  const cells = new Cells(values.length, kind, name);
  values.forEach((value, row) => value !== undefined && cells.set(row, value));
  const made = cells.vector(cells.setRows());
  if (made.data.tag !== 'strings' || layout === 'strings') return made;
  const texts = new Cells(values.length, codeOf('bytes'), name);
  made.data.val.forEach((text, row) => texts.set(row, new TextEncoder().encode(text)));
  return { ...made, data: texts.vector().data };
}

/** What the answer says about its row. */
function apply(outcome, row, count, answer, names, tables) {
  if (answer.ops.length > 0) outcome.op = OPS[answer.ops[row]];
  outcome.dropped = answer.keep.length > 0 && !bit(answer.keep, row);
  for (const { index, image, rows, values } of answer.assigns) {
    if (rows.length > 0 && !bit(rows, row)) continue;
    const value = values.tag === 'constant' ? valuesOf(values.val, 1)[0] : valuesOf(values.val, count)[row];
    // A row that does not have the image, or does not know the value, is not given one by a rewrite.
    if (value !== undefined) (image === AFTER ? outcome.after : outcome.before)[names[index]] = value;
  }
  const { tag, val } = answer.routing;
  if (tag === 'all') outcome.topics = val;
  if (tag === 'by-row') outcome.topics = val.lists[new Uint16Array(val.rows.buffer)[row]];
  outcome.error = answer.errors.find((error) => error.row === row)?.message;
  for (const { derivation, origins, ops, columns } of answer.derived) {
    const { schema, table, columns: defs } = tables[derivation];
    new Uint32Array(origins.buffer).forEach((origin, at) => {
      if (origin !== row) return;
      const made = { table: `${schema}.${table}`, op: OPS[ops[at]], before: {}, after: {} };
      for (const { index, image, vector } of columns) {
        const value = valuesOf(vector, ops.length)[at];
        if (value !== undefined) made[image === AFTER ? 'after' : 'before'][defs[index].name] = value;
      }
      outcome.derived.push(made);
    });
  }
}

