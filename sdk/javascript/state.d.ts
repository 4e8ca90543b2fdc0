/** A text stands for its UTF-8. */
export type Bytes = Uint8Array | string;

/** What a plugin remembers: a map of bytes to bytes, one for each lane, that outlives a crash, a reload and a restart. After those it is as it was when
 * the last rows were settled, and the rows after those come again. What `process` changed counts if it succeeds.
 *
 * It is there in `process` alone, and bounded: `state` of the plugin in the manifest. A call costs more than a value, so ask for many keys at once
 * where there are many rows. What the host refuses throws, and changes nothing. */
export const state: {
  /** `undefined`: there is none. */
  get(key: Bytes): Uint8Array | undefined;
  /** The values of the keys, in their order. */
  getAll(keys: Iterable<Bytes>): (Uint8Array | undefined)[];
  set(key: Bytes, value: Bytes): void;
  delete(key: Bytes): void;
  /** All of the changes, in their order, or none of them; `undefined` takes a key away. */
  put(changes: Iterable<readonly [Bytes, Bytes | undefined]>): void;
  /** Entries in the order of their keys, from the first that is not less than `start`: at most so many, and fewer where they are long, but at least one
   * if there is one. */
  scan(start: Bytes, entriesMax: number): [Uint8Array, Uint8Array][];
};
