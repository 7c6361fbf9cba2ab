import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256 } from '@kmend/base/node';

/** Packages whose code decides what a livepatch looks like. */
const DECIDING = ['livepatch/builder', 'kernel/kernel', 'kernel/toolchain', 'core/elf'];

/** Hash of the code that builds: what another state of it has cached is not used. */
export async function codeDigest(): Promise<string> {
  const packages = fileURLToPath(new URL('../../../..', import.meta.url));
  const files: string[] = [];
  for (const name of DECIDING) {
    const source = join(packages, name, 'src');
    for (const path of await readdir(source, { recursive: true })) {
      if (/\.(?:ts|js|h|mk)$/.test(path) && !/\.test\.ts$|testing\//.test(path)) files.push(join(source, path));
    }
  }
  const texts = await Promise.all(files.sort().map((path) => readFile(path)));
  return sha256(Buffer.concat(texts));
}
