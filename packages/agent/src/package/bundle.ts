import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** The whole agent as one ES module, with nothing of the build machine in it. */
export async function bundleAgent(): Promise<Uint8Array> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL('../cli/main.ts', import.meta.url))],
    absWorkingDir: fileURLToPath(new URL('../../../..', import.meta.url)),
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node26',
    format: 'esm',
    legalComments: 'inline',
    // CommonJS dependencies inside the bundle ask for Node's own modules this way.
    banner: {
      js: "import { createRequire as kmendCreateRequire } from 'node:module'; const require = kmendCreateRequire(import.meta.url);",
    },
    logLevel: 'silent',
  });
  const [file] = result.outputFiles;
  if (file === undefined) throw new TypeError('esbuild made no file');
  return file.contents;
}
