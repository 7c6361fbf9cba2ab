import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256File, syncDirectory } from '@kmend/base/node';
import type { TargetFile } from '@tufjs/models';
import { diskError, TrustError } from '../error.ts';
import { targetFile } from './layout.ts';

/**
 * Checks a local file against its signed target and brings it under its final name, where nothing refers to it yet.
 * Throws `publication-mismatch`, and the codes of a disk's failure.
 */
export async function bringTarget(repository: string, target: TargetFile, from: string): Promise<void> {
  const sha256 = target.hashes['sha256'] ?? '';
  const size = (await stat(from).catch(() => undefined))?.size;
  if (size !== target.length || (await sha256File(from)) !== sha256) {
    throw new TrustError('publication-mismatch', `${target.path} was not uploaded, or is not the signed file`, {
      hint: 'upload it again, then publish',
      details: { expected: { sha256, length: target.length }, actual: { length: size } },
    });
  }
  const to = join(repository, targetFile(target.path, sha256));
  const temporary = `${to}.tmp`;
  await mkdir(dirname(to), { recursive: true });
  try {
    await copyFile(from, temporary);
    const handle = await open(temporary, 'r+');
    await handle.sync().finally(() => handle.close());
    await rename(temporary, to);
    await syncDirectory(dirname(to));
  } catch (cause) {
    await rm(temporary, { force: true });
    throw diskError(cause, to, 'the repository is unchanged');
  }
}
