import fsPromises from 'node:fs/promises';
import os from 'node:os';
import { basename } from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const common = {
  absWorkingDir: fileURLToPath(new URL('../../../../..', import.meta.url)),
  bundle: true,
  write: false,
  outdir: 'out',
  platform: 'node',
  target: 'node26',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'inline',
  logLevel: 'silent',
} as const satisfies BuildOptions;

/** Node's modules that load `os`, and itself. */
const LATE: Readonly<Record<string, object>> = { os, 'fs/promises': fsPromises, readline };

/**
 * Has Node's `os` module loaded only when something of it is used. As it is loaded it asks for the kernel's release and
 * version, and keeps them: in a startup snapshot they would be those of the machine that made it.
 */
const LATE_OS: Plugin = {
  name: 'late-os',
  setup(build) {
    const filter = new RegExp(`^(node:)?(${Object.keys(LATE).join('|')})$`);
    build.onResolve({ filter }, ({ path }) => ({ path: path.replace(/^node:/, ''), namespace: 'late' }));
    build.onLoad({ filter: /./, namespace: 'late' }, ({ path }) => ({
      contents: `for (const name of ${JSON.stringify(Object.keys(LATE[path] ?? {}))})
        Object.defineProperty(exports, name, { enumerable: true, get: () => process.getBuiltinModule('node:${path}')[name] });`,
    }));
  },
};

/** One CommonJS file: that is what Node makes a startup snapshot of. */
export const SNAPSHOT_FORMAT = {
  ...common,
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  plugins: [LATE_OS],
} as const satisfies BuildOptions;

/** An ES module; of the libraries it has only what it uses. */
const idle = {
  ...common,
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  // CommonJS dependencies inside the bundle ask for Node's own modules this way.
  banner: {
    js: "import { createRequire as kmendCreateRequire } from 'node:module'; const require = kmendCreateRequire(import.meta.url);",
  },
} as const satisfies BuildOptions;

/**
 * The agent's programs with nothing of the build machine in them: `agent.cjs`, and `idle.mjs`, the small program that
 * runs at every check. Whitespace is removed, since every start of a program reads all of it; names are kept for
 * stack traces.
 */
export async function bundleAgent(): Promise<ReadonlyMap<string, Uint8Array>> {
  const outputs = await Promise.all([
    build({ ...SNAPSHOT_FORMAT, entryPoints: { agent: source('../cli/main.ts') } }),
    build({ ...idle, entryPoints: { idle: source('../fetcher/idle-main.ts') } }),
  ]);
  const files = outputs.flatMap(({ outputFiles }) => outputFiles);
  return new Map(files.map(({ path, contents }) => [basename(path), contents]));
}

function source(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
