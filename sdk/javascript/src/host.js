// The host's log. Outside of a component, in unit tests, entries go to stderr.

let write = (level, message) => console.error(`${level}: ${message}`);

/** Done by the component's entry. */
export function setHost(log) {
  write = log;
}

const at = (level) => (message) => write(level, String(message));

export const log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
