// A plugin as the component's exports: what the host calls, and what becomes of exceptions.

import { Batch, Bound } from './batch.js';
import { KINDS } from './kinds.js';
import { Plan } from './plan.js';

/** The folder of this SDK in a component. */
const SDK = 'tidegate-plugin/';

/** Thrown for what is wrong outside of the plugin, in its config or in the data: its message alone is the error. */
export class PluginError extends Error {
  constructor(message) {
    super(message);
    this.name = 'PluginError';
  }
}

export class Relation {
  constructor({ id, schema, table, columns, key }) {
    this.id = id;
    this.schema = schema;
    this.table = table;
    this.columns = columns.map(({ name, kind, nullable, sourceType }) => ({ name, kind: KINDS[kind], nullable, sourceType }));
    this.key = [...key].map((at) => columns[at].name);
  }

  column(name) {
    return this.columns.find((c) => c.name === name);
  }

  matches(pattern) {
    const dot = pattern.indexOf('.');
    const [schema, table] = dot < 0 ? ['*', pattern] : [pattern.slice(0, dot), pattern.slice(dot + 1)];
    return (schema === '*' || schema === this.schema) && (table === '*' || table === this.table);
  }
}

/** A plugin and the relations that it is bound to. */
export class Running {
  constructor(Plugin) {
    this.Plugin = Plugin;
    this.plugin = undefined;
    this.bound = new Map();
    this.batch = undefined;
  }

  configure(config) {
    this.plugin = new this.Plugin(JSON.parse(config));
  }

  bind(wire) {
    const relation = new Relation(wire);
    const plan = this.plugin.bind(relation);
    if (plan === undefined || plan === null) return undefined;
    if (!(plan instanceof Plan)) throw new TypeError('bind returns a Plan, or nothing');
    const finished = plan._finish(relation);
    this.bound.set(relation.id, new Bound(relation, finished));
    return finished;
  }

  process(id, wire) {
    const batch = new Batch(this.bound.get(id), wire);
    this.batch = batch;
    this.plugin.process(batch);
    const outcome = batch._finish();
    this.batch = undefined;
    return outcome;
  }
}

/** The text of what was thrown, with the plugin's own files and lines. */
function readable(thrown, row) {
  if (thrown instanceof PluginError) return thrown.message;
  if (!(thrown instanceof Error)) return String(thrown);
  const frames = [...String(thrown.stack).matchAll(/at (?:(\S+) )?\(?\/?([^\s()]+):(\d+):(\d+)\)?/g)];
  const own = frames.filter(([, , file]) => !file.startsWith(SDK));
  const places = own.map(([, name, file, line, column]) => `${file}:${line}:${column}${name ? ` in ${name}` : ''}`);
  if (row !== undefined) places.push(`row ${row} of the batch`);
  return `${thrown}${places.length === 0 ? '' : ` (at ${places.join(', ')})`}`;
}

/** The component's exports on behalf of a plugin. */
export function guest(Plugin) {
  const running = new Running(Plugin);
  const guarded = (call) => (...args) => {
    try {
      return call.apply(running, args);
    } catch (thrown) {
      const row = running.batch?._at;
      running.batch = undefined;
      // A string becomes the error that the call returns.
      throw readable(thrown, row);
    }
  };
  return { configure: guarded(running.configure), bind: guarded(running.bind), process: guarded(running.process) };
}
