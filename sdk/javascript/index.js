export { toDate } from './src/dates.js';
export { PluginError } from './src/guest.js';
export { log } from './src/host.js';
export { Derivation, Plan } from './src/plan.js';
