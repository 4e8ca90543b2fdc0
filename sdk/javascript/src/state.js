// What a plugin remembers: a map of bytes to bytes at the host. Outside of a component, in unit tests, a map of this module takes its place.

/** Why the host did not do it, as it calls that. */
const REFUSALS = {
  'not-now': 'the state is there in `process` alone',
  'key-length': 'a key of the state must have 1 to 1024 bytes',
  'value-length': 'a value of the state may have 65536 bytes',
  full: 'the state is full: `state` of this plugin in the manifest limits it',
  'too-much': 'more values of the state were asked for at once than an answer may hold',
};

/** One of bytes, as a text of which each character is a byte: such texts are the same and in the same order where their bytes are. */
const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
const bytesOf = (latin1) => Uint8Array.from(latin1, (character) => character.charCodeAt(0));

/** The bytes of a key or value: those of a text are its UTF-8. The engine has no TextEncoder. */
function bytes(value) {
  if (typeof value === 'string') return bytesOf(unescape(encodeURIComponent(value)));
  if (value instanceof Uint8Array) return value;
  throw new TypeError('a key or value of the state is a string or a Uint8Array');
}

const remembered = new Map();

const inMemory = {
  get: (keys) => keys.map((key) => remembered.get(latin1(key))),
  put(changes) {
    for (const { key, value } of changes) {
      if (value === undefined) remembered.delete(latin1(key));
      else remembered.set(latin1(key), value.slice());
    }
  },
  scan(start, entriesMax) {
    const keys = [...remembered.keys()].filter((key) => key >= latin1(start)).sort();
    return keys.slice(0, entriesMax).map((key) => ({ key: bytesOf(key), value: remembered.get(key) }));
  },
};

let host = inMemory;

/** Done by the component's entry. */
export function setState(state) {
  host = state;
}

/** A test begins. */
export function forget() {
  remembered.clear();
}

function asked(call) {
  try {
    return call();
  } catch (thrown) {
    const refusal = REFUSALS[thrown?.payload ?? thrown];
    throw refusal === undefined ? thrown : new Error(refusal);
  }
}

export const state = {
  get: (key) => state.getAll([key])[0],
  getAll(keys) {
    const wanted = Array.from(keys, bytes);
    return asked(() => host.get(wanted)).map((value) => value ?? undefined);
  },
  set: (key, value) => state.put([[key, value]]),
  delete: (key) => state.put([[key, undefined]]),
  put(changes) {
    const wire = Array.from(changes, ([key, value]) => ({ key: bytes(key), value: value === undefined ? undefined : bytes(value) }));
    asked(() => host.put(wire));
  },
  scan(start, entriesMax) {
    const from = bytes(start);
    return asked(() => host.scan(from, entriesMax)).map(({ key, value }) => [key, value]);
  },
};
