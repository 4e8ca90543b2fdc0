import type { Kind, Metadata, Op, PluginClass, Settable, Value } from './index.js';

export type Values = Record<string, Settable | undefined>;

/** A table as the host passes it to `bind`. */
export interface Table { readonly schema: string; readonly table: string }

/** A table `schema.table` with its columns by name and kind; the first `key` of them (1) are its key. */
export function table(name: string, columns: Record<string, Kind>, key?: number): Table;

export interface Change { readonly op: Op; readonly before: Values | undefined; readonly after: Values | undefined }

/** Changes to pass: values by column name; what is left out is absent. */
export const change: {
  insert(after: Values): Change;
  update(before: Values, after: Values): Change;
  delete(before: Values): Change;
  snapshot(after: Values): Change;
};

/** What the plugin made of a change. */
export interface Outcome {
  op: Op;
  dropped: boolean;
  /** The values by column name, those set by the plugin with them. */
  before: Record<string, Value | null>;
  after: Record<string, Value | null>;
  /** `undefined`: the topic of its table. */
  topics: string[] | undefined;
  /** The message of `row.fail`. */
  error: string | undefined;
  derived: { table: string; op: Op; before: Record<string, Value | null>; after: Record<string, Value | null> }[];
}

/** One instance of a plugin, in Node. A new one begins with an empty state. */
export class Tester {
  constructor(plugin: PluginClass, config?: unknown);
  /** Binds the table and passes the changes (at least one) as one batch. A table that does not concern the plugin comes back as it was; operations
   * and columns that the plan does not ask for are not passed. `metadata`: the same for all rows. */
  run(table: Table, changes: Change[], metadata?: Partial<Record<Metadata, string | bigint | null>>): Outcome[];
}
