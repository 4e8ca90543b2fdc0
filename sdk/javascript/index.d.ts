/** What a column holds. */
export type Kind =
  | 'boolean' | 'int64' | 'uint64' | 'float64' | 'text' | 'bytes' | 'decimal' | 'json' | 'date' | 'time' | 'datetime' | 'timestamp';

/** What happened to a row; `snapshot`: it was read from the table itself and not from the change stream. */
export type Op = 'insert' | 'update' | 'delete' | 'snapshot';

/** Row metadata: `position` (string, `file:offset` where the row's transaction begins), `place` (bigint, grows within the transaction),
 * `transaction` (string, the GTID; null if it has none), `commit-time` (bigint, microseconds since the epoch, by the source's clock). */
export type Metadata = 'position' | 'place' | 'transaction' | 'commit-time';

/** A value, by the column's kind:
 * - boolean: `boolean`; float64: `number`; text, decimal (its exact digits) and json: `string`; bytes: `Uint8Array`
 * - int64 and uint64: `bigint`, always exact
 * - date: `bigint`, milliseconds since 1970-01-01; time: `bigint`, microseconds, signed; datetime (no zone) and timestamp (UTC): `bigint`,
 *   microseconds since 1970-01-01T00:00:00. `row.date` and `toDate` make a `Date` of them. What no calendar has (0000-00-00) is below
 *   -2n ** 63n + 2n ** 60n and can be passed on as it is. */
export type Value = boolean | number | bigint | string | Uint8Array;

/** What can be set besides `Value`: a whole number (up to 2^53) where a bigint goes, a `Date` where a date, datetime or timestamp goes; `null` is NULL. */
export type Settable = Value | Date | null;

/** Which image of a row: `own` is after the change, or before it where the row was deleted. */
export type Side = 'own' | 'after' | 'before';

export interface Column {
  readonly name: string;
  readonly kind: Kind;
  readonly nullable: boolean;
  /** As the source's DDL writes it: `varchar(55)`; empty for a column that a plugin added. */
  readonly sourceType: string;
}

/** A table as seen at one position. When its columns change, there is another one. */
export interface Relation {
  readonly id: number;
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly Column[];
  /** The names of the key columns, in key order; empty: the table has no key. */
  readonly key: readonly string[];
  column(name: string): Column | undefined;
  /** True for `schema.table`, `table`, `schema.*` and `*`. */
  matches(pattern: string): boolean;
}

/** What a plugin wants of one relation. Columns are named; a name that the relation does not have is an error of `bind`. */
export class Plan {
  /** All operations, no columns. */
  constructor();
  /** Only these operations; rows of others pass by unseen. */
  ops(...ops: Op[]): this;
  /** Reads the row's value whatever happened to it: after an insert or update, before a delete; both images of an update. */
  reads(...names: string[]): this;
  readsAfter(...names: string[]): this;
  readsBefore(...names: string[]): this;
  /** Reads in order to replace: the after image, and the before image where something downstream reads it. */
  rewrites(...names: string[]): this;
  readsMetadata(...metadata: Metadata[]): this;
  /** Texts are passed as bytes: for `buffers` and `rewriteBuffers`, which then are faster than strings; all else is slower. */
  textsAsBytes(): this;
  /** Adds a column; absent in every row that does not set it. */
  adds(name: string, kind: Kind): this;
  /** Adds a column that every row sets. */
  addsNotNull(name: string, kind: Kind): this;
  /** Leaves columns out. Not key columns. They can still be read. */
  drops(...names: string[]): this;
  renames(name: string, to: string): this;
  /** Declares a table of which `row.derive` makes rows. */
  derives(table: Derivation): this;
}

/** A table of the plugin's making. */
export class Derivation {
  /** `schema.table`, which is also the topic of its rows. */
  constructor(name: string);
  /** A column that may be NULL, or absent. */
  column(name: string, kind: Kind): this;
  /** The next column of the key, which every row sets. Without any, rows can be inserted only. */
  key(name: string, kind: Kind): this;
}

/** One row. Reads and sets its own image (after the change, or before it if the row was deleted); `row.after` and `row.before` look at one.
 * What is set is not read back. A column that the plan does not read, or that there is not, throws. */
export interface Row {
  /** In the batch. */
  readonly index: number;
  readonly op: Op;
  readonly after: Row;
  readonly before: Row;
  /** `null`: NULL. `undefined`: the image does not have it (`binlog_row_image = MINIMAL`), or the row does not have this image. */
  get(name: string): any;
  /** A number instead of a bigint; an integer beyond 2^53 throws. */
  number(name: string): number | null | undefined;
  /** A date, datetime or timestamp, to the millisecond; an invalid `Date` for one that no calendar has. */
  date(name: string): Date | null | undefined;
  /** False: absent, so not known. NULL is known. */
  has(name: string): boolean;
  isNull(name: string): boolean;
  metadata(metadata: Metadata): any;
  set(name: string, value: Settable): void;
  /** Makes another operation of it: a delete that becomes an update keeps the row at the sink. */
  setOp(op: Op): void;
  /** It goes no further. */
  drop(): void;
  /** Sends it to these topics and to no other; by default it goes to `schema.table`. */
  route(...topics: string[]): void;
  /** Makes a row of a table that the plan derives: an insert, which replaces a row of its key, or another change: an update sets some columns of
   * the row of its key (`before` may hold old values), a delete needs the key alone. It is written after this row, whether this one is dropped or not.
   * What is `undefined` or left out is absent. */
  derive(table: string, values: Record<string, Settable | undefined>, options?: { op?: Op; before?: Record<string, Settable | undefined> }): void;
  /** It cannot be processed: the pipeline stops in front of it. The message should not hold values. */
  fail(message: string): void;
}

/** One image of a column as Arrow has it, all rows at once. Bitmaps: row i is bit i % 8 of byte i / 8. */
export interface Buffers {
  /** Bitmap, 1: not NULL. Empty: no NULLs. */
  readonly nulls: Uint8Array;
  /** Bitmap, 1: the image has the column. Empty: all have it. */
  readonly present: Uint8Array;
  /** Numbers, dates and times: two a row, the lower and the upper half of its 64 bits. */
  readonly words?: Int32Array;
  /** Texts and bytes: where each begins in `data`, and where the last one ends. */
  readonly offsets?: Int32Array;
  /** Texts (UTF-8) and bytes; or a bitmap of booleans. */
  readonly data?: Uint8Array;
}

/** At least one row of a relation, in source order. */
export interface Batch {
  readonly relation: Relation;
  readonly length: number;
  op(row: number): Op;
  rows(): Iterable<Row>;
  row(index: number): Row;
  /** A column, one value a row, as `row.get` gives them. Do not change the array. */
  values(name: string, side?: Side): readonly any[];
  /** The same of integers, as numbers; one beyond 2^53 throws. */
  numbers(name: string, side?: Side): ArrayLike<any>;
  metadata(metadata: Metadata): readonly any[];
  /** The buffers of a column, without a value made of any row; `undefined`: no row has this image. For texts the plan says `textsAsBytes`. */
  buffers(name: string, image?: 'after' | 'before'): Buffers | undefined;
  /** Replaces the buffers of a column in both images, `nulls` and `present` stay: called for each image that was passed. */
  rewriteBuffers(name: string, rewrite: (buffers: Buffers) => Pick<Buffers, 'words' | 'offsets' | 'data'>): void;
  /** The row goes no further. */
  drop(row: number): void;
  /** An array to be filled: for each row the index in `topics` of the one that it is sent to; rows that are not set stay. */
  routes(topics: string[]): Uint16Array;
  /** Drops the rows for which `keep` says false. */
  keep(keep: (row: number) => boolean): void;
  /** Sends every row to these topics, but those that are routed one by one. */
  routeAll(...topics: string[]): void;
  /** Sends each row to the topic that is said of it; `undefined`: it stays. */
  routeBy(topic: (row: number) => string | undefined): void;
  /** The same value in every row, after the change. */
  setAll(name: string, value: Settable): void;
  /** One value a row, after the change; `undefined`: it stays as it was. */
  setEach(name: string, values: ArrayLike<Settable | undefined>): void;
  /** Replaces the texts of a column in both images, so that no old value gets past. NULL stays NULL and what is absent stays absent. */
  rewriteTexts(name: string, rewrite: (text: string) => string): void;
}

/** What the default export of a plugin is: a class. Each lane of a pipeline has an instance of its own; calls never overlap. */
export interface Plugin {
  /** Once a table, and again when its columns have changed. Nothing: its rows do not concern the plugin. The same relation gets the same plan. */
  bind(relation: Relation): Plan | undefined | null;
  process(batch: Batch): void;
}

/** Called once, first, with the manifest's `config`, parsed. What it throws is what `tidegate check` shows. */
export type PluginClass = new (config: any) => Plugin;

/** For what is wrong outside of the plugin, in its config or in the data: the message alone is the error. Any other exception is shown with the
 * plugin's file and line. */
export class PluginError extends Error {
  constructor(message: string);
}

/** A word of a date, datetime or timestamp column as a `Date`. */
export function toDate(kind: Kind, word: bigint): Date;

/** Entries of Tidegate's log. Never log row values. */
export const log: { debug(message: string): void; info(message: string): void; warn(message: string): void; error(message: string): void };
