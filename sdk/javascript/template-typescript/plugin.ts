// {{name}}: hides e-mail addresses. Config: `{ columns = ["email"] }`.

import { Plan, PluginError, type Batch, type Relation } from 'tidegate-plugin';

interface Config {
  columns?: string[];
}

export default class Mask {
  private columns: string[];

  // Once, with the manifest's `config`. What it throws is what `tidegate check` shows.
  constructor({ columns }: Config) {
    if (columns === undefined || columns.length === 0) throw new PluginError('`columns` is missing');
    this.columns = columns;
  }

  // Once a table: which columns to pass. Others are not even decoded. Nothing: the table does not concern the plugin.
  bind(table: Relation): Plan | undefined {
    const columns = this.columns.filter((name) => table.column(name) !== undefined);
    return columns.length === 0 ? undefined : new Plan().rewrites(...columns);
  }

  // Both images, column by column: nothing that should be hidden gets past in a before image.
  process(batch: Batch): void {
    for (const name of this.columns) {
      if (batch.relation.column(name) !== undefined) batch.rewriteTexts(name, mask);
    }
  }
}

/** `ada@example.com` → `a***@example.com`. */
function mask(text: string): string {
  const at = text.lastIndexOf('@');
  return `${[...text.slice(0, 8)][0] ?? ''}***${at < 0 ? '' : text.slice(at)}`;
}
