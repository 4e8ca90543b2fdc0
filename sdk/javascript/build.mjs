// Makes a component of a plugin's folder: stages its modules beside those of this SDK, blanks out types, and lets componentize-qjs bake
// the result. usage: node build.mjs build TOOLS FOLDER OUT.wasm | link TOOLS FOLDER
// TOOLS: the folder whose node_modules has what package.json names. link only puts this SDK into FOLDER's node_modules.
//
// Files keep their names and lines, so errors at work show those of the source.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const SDK = path.dirname(fileURLToPath(import.meta.url));
const NAME = 'tidegate-plugin';
const ENTRY = 'tidegate-entry.js';
/** What a plugin can import of this SDK, and where that is. */
const STATE = `${NAME}/state`;
const OWN = { [NAME]: 'index.js', [STATE]: 'src/state.js' };
const command = process.argv[2];
const [tools, folder, out] = process.argv.slice(3).map((arg) => path.resolve(arg));
const require = createRequire(path.join(tools, 'package.json'));

function fail(message) {
  throw new Error(message);
}

/** The module whose default export is the plugin. */
function entry() {
  const found = ['plugin.js', 'plugin.ts'].find((name) => existsSync(path.join(folder, name)));
  return found ?? fail(`${folder} has neither plugin.js nor plugin.ts`);
}

/** Editors, the type checker and unit tests find the SDK as a package. */
function link() {
  const at = path.join(folder, 'node_modules', NAME);
  // The SDK's own tests find it beside them.
  if (folder === path.join(SDK, 'test') || lstatSync(at, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(path.dirname(at), { recursive: true });
  symlinkSync(SDK, at);
}

function checkTypes(files) {
  const options = '--noEmit --strict --target es2022 --lib es2024 --module nodenext --allowImportingTsExtensions --skipLibCheck'.split(' ');
  const tsc = spawnSync(process.execPath, [require.resolve('typescript/bin/tsc'), ...options, ...files], { cwd: folder, encoding: 'utf8' });
  if (tsc.status !== 0) fail(tsc.stdout);
}

/** Where an import of the module `file` leads, as the staged file says it. */
function target(specifier, file, depth) {
  if (specifier.startsWith('tidegate:')) return specifier;
  if (OWN[specifier] !== undefined) return `${'../'.repeat(depth) || './'}${NAME}/${OWN[specifier]}`;
  if (!specifier.startsWith('.')) fail(`${file}: import of ${specifier}: a plugin has its own files and ${NAME}; a package must be bundled into one of them`);
  const at = path.join(folder, path.dirname(file), specifier);
  // As TypeScript has it: `./mask.js` may mean mask.ts.
  const typed = specifier.replace(/\.js$/, '.ts');
  if (!existsSync(at) && existsSync(path.join(folder, path.dirname(file), typed))) return typed;
  return specifier;
}

/** Copies a module and what it imports. `staged`: those that were, and what they import of this SDK. */
async function stage(file, root, staged) {
  if (staged.has(file)) return;
  staged.add(file);
  const { default: ts } = await import(pathToFileURL(require.resolve('typescript')));
  let text = existsSync(path.join(folder, file)) ? readFileSync(path.join(folder, file), 'utf8') : fail(`${file} is imported, but is not there`);
  if (file.endsWith('.ts')) {
    const { default: blankSpace } = await import(pathToFileURL(require.resolve('ts-blank-space')));
    const source = text;
    text = blankSpace(source, (node) => {
      const start = node.pos + source.slice(node.pos).search(/\S/);
      const line = source.slice(0, start).split('\n').length;
      fail(`${file}:${line}: enums, namespaces and parameter properties are more than types; write it as JavaScript has it`);
    });
  }
  const depth = file.split(path.sep).length - 1;
  const imports = ts.preProcessFile(text, true, true).importedFiles;
  // From the last on, so that places stay right; `pos` is that of the quote.
  for (const { fileName, pos } of imports.sort((a, b) => b.pos - a.pos)) {
    const to = target(fileName, file, depth);
    text = text.slice(0, pos + 1) + to + text.slice(pos + 1 + fileName.length);
    if (OWN[fileName] !== undefined) staged.add(fileName);
    else if (to.startsWith('.')) await stage(path.join(path.dirname(file), to), root, staged);
  }
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), text);
}

async function build() {
  const root = mkdtempSync(path.join(tmpdir(), 'tidegate-plugin-'));
  try {
    const plugin = entry();
    const staged = new Set();
    await stage(plugin, root, staged);
    const typed = [...staged].filter((file) => file.endsWith('.ts'));
    if (typed.length > 0) checkTypes(typed);
    mkdirSync(path.join(root, NAME, 'src'), { recursive: true });
    copyFileSync(path.join(SDK, 'index.js'), path.join(root, NAME, 'index.js'));
    for (const file of readdirSync(path.join(SDK, 'src'))) {
      if (file !== 'test.js') copyFileSync(path.join(SDK, 'src', file), path.join(root, NAME, 'src', file));
    }
    // A component imports the state only if the plugin does.
    const remembers = staged.has(STATE);
    const state = `import * as state from 'tidegate:plugin/state@0.1.0';
import { setState } from './${NAME}/src/state.js';
setState(state);
`;
    writeFileSync(
      path.join(root, ENTRY),
      `import { log } from 'tidegate:plugin/host@0.1.0';
import { guest } from './${NAME}/src/guest.js';
import { setHost } from './${NAME}/src/host.js';
import Plugin from './${plugin}';
${remembers ? state : ''}setHost(log);
export const transform = guest(Plugin);
`,
    );
    const { componentize } = await import(pathToFileURL(require.resolve('componentize-qjs')));
    const jsPath = path.join(root, ENTRY);
    const world = remembers ? 'plugin-with-state' : 'plugin';
    const options = { witPath: path.join(SDK, 'wit'), world, jsSource: readFileSync(jsPath, 'utf8'), jsPath, moduleRoot: root };
    // Synchronous, or the component asks for a part of the component model that the host does not offer; without WASI, or it is refused.
    const { component } = await componentize({ ...options, sync: true, stubWasi: true });
    mkdirSync(path.dirname(out), { recursive: true });
    writeFileSync(`${out}.part`, component);
    renameSync(`${out}.part`, out);
  } catch (error) {
    // What componentize-qjs puts in front of what the engine says.
    console.error(error.message.replace(/^: (Failed to [^:]*: )*(Error: )?/, '').replaceAll(`${root}/`, '').trim());
    process.exitCode = 1;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

link();
if (command === 'build') await build();
