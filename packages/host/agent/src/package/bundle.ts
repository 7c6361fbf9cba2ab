import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build } from 'esbuild';

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

/** One CommonJS file: that is what Node makes a startup snapshot of. */
const agent = { ...common, format: 'cjs', outExtension: { '.js': '.cjs' } } as const satisfies BuildOptions;

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
 * runs at every check. Whitespace is taken out, since every start of a program reads all of it; names are kept, for
 * what a stack says.
 */
export async function bundleAgent(): Promise<ReadonlyMap<string, Uint8Array>> {
  const outputs = await Promise.all([
    build({ ...agent, entryPoints: { agent: source('../cli/main.ts') } }),
    build({ ...idle, entryPoints: { idle: source('../fetcher/idle-main.ts') } }),
  ]);
  const files = outputs.flatMap(({ outputFiles }) => outputFiles);
  return new Map(files.map(({ path, contents }) => [basename(path), contents]));
}

function source(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
