// {{name}}: hides e-mail addresses. Config: `{ columns = ["email"] }`.

import { Plan, PluginError } from 'tidegate-plugin';

export default class Mask {
  // Once, with the manifest's `config`. What it throws is what `tidegate check` shows.
  constructor({ columns }) {
    if (!Array.isArray(columns) || columns.length === 0) throw new PluginError('`columns` is missing');
    this.columns = columns;
  }

  // Once a table: which columns to pass. Others are not even decoded. Nothing: the table does not concern the plugin.
  bind(table) {
    const columns = this.columns.filter((name) => table.column(name) !== undefined);
    return columns.length === 0 ? undefined : new Plan().rewrites(...columns);
  }

  // Both images, column by column: nothing that should be hidden gets past in a before image.
  process(batch) {
    for (const name of this.columns) {
      if (batch.relation.column(name) !== undefined) batch.rewriteTexts(name, mask);
    }
  }
}

/** `ada@example.com` → `a***@example.com`. */
function mask(text) {
  const at = text.lastIndexOf('@');
  return `${[...text.slice(0, 8)][0] ?? ''}***${at < 0 ? '' : text.slice(at)}`;
}
