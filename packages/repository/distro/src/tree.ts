import { chmod, copyFile, mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256File } from '@kmend/base/node';
import { DistroError } from './error.ts';
import type { Signer } from './openpgp.ts';
import type { PackageSpec } from './package.ts';
import { epochSeconds } from './text.ts';

/** Lays the files of a package out below `tree`. */
export async function layOut(
  tree: string,
  { files, at }: Pick<PackageSpec, 'files' | 'at'>,
  signer: Signer,
): Promise<void> {
  for (const { path, mode, content } of files) {
    const target = join(tree, path);
    await mkdir(dirname(target), { recursive: true });
    if ('file' in content) await placeFile(content, target);
    else if ('text' in content) await writeFile(target, content.text);
    else if ('bytes' in content) await writeFile(target, content.bytes);
    else await writeFile(target, await signer.detached(content.signatureOf, at));
    await chmod(target, mode);
  }
}

async function placeFile(content: { readonly file: string; readonly sha256: string }, target: string): Promise<void> {
  await copyFile(content.file, target);
  if ((await sha256File(target)) === content.sha256) return;
  throw new DistroError('depot-damaged', `${content.file} is not the file that its name says`, {
    hint: 'restore it from a backup, or add the livepatch again from its build',
  });
}

/** Modes of folders, and times, that do not depend on who builds when. */
export async function normalize(path: string, at: Date): Promise<void> {
  const seconds = epochSeconds(at);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await normalize(join(path, entry.name), at);
    else await utimes(join(path, entry.name), seconds, seconds);
  }
  await chmod(path, 0o755);
  await utimes(path, seconds, seconds);
}
