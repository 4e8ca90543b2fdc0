// The words of the interface and their codes.

/** What a column holds, by code. */
export const KINDS = [
  'boolean', 'int64', 'uint64', 'float64', 'text', 'bytes', 'decimal', 'json', 'date', 'time', 'datetime', 'timestamp',
];

/** What happened to a row, by code. */
export const OPS = ['insert', 'update', 'delete', 'snapshot'];
export const DELETE = 2;

/** Row metadata that a plan can ask for, by code. */
export const METADATA = ['position', 'place', 'transaction', 'commit-time'];

export const AFTER = 0;
export const BEFORE = 1;

const TEXT = [4, 6, 7];
const INT64 = [1, 8, 9, 10, 11];

/** Text, decimal and JSON, which are strings. `kind` is a code, here and below. */
export const isText = (kind) => TEXT.includes(kind);

/** Int64, dates and times, which are signed words. */
export const isInt64 = (kind) => INT64.includes(kind);

/** The code of a word; the error names what it is the word of. */
export function code(words, word, what) {
  const at = words.indexOf(word);
  if (at < 0) throw new Error(`${what} ${JSON.stringify(word)}: it is one of ${words.join(', ')}`);
  return at;
}

/** `schema.table` in its two parts. */
export function splitName(name) {
  const dot = name.indexOf('.');
  return dot < 0 ? ['', name] : [name.slice(0, dot), name.slice(dot + 1)];
}
