import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** The agent's programs, by the name of the file that each becomes. */
const programs = { agent: '../cli/main.ts', idle: '../fetcher/idle-main.ts' };

/**
 * The agent as ES modules with nothing of the build machine in them: `agent.mjs` with its parts, and `idle.mjs`, the small program that runs at every check.
 * Whitespace is taken out, since every start of a program reads all of it; names are kept, for what a stack says.
 */
export async function bundleAgent(): Promise<ReadonlyMap<string, Uint8Array>> {
  const result = await build({
    entryPoints: Object.fromEntries(
      Object.entries(programs).map(([name, path]) => [name, fileURLToPath(new URL(path, import.meta.url))]),
    ),
    absWorkingDir: fileURLToPath(new URL('../../../../..', import.meta.url)),
    bundle: true,
    // What only some commands need is read by them alone.
    splitting: true,
    chunkNames: 'part-[hash]',
    write: false,
    outdir: 'out',
    outExtension: { '.js': '.mjs' },
    platform: 'node',
    target: 'node26',
    format: 'esm',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'inline',
    // CommonJS dependencies inside the bundle ask for Node's own modules this way.
    banner: {
      js: "import { createRequire as kmendCreateRequire } from 'node:module'; const require = kmendCreateRequire(import.meta.url);",
    },
    logLevel: 'silent',
  });
  return new Map(result.outputFiles.map(({ path, contents }) => [basename(path), contents]));
}
