import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '@kmend/base/node';
import type { TargetFile } from '@tufjs/models';
import type { Session } from './transaction.ts';

/** Brings a target to a path unless the right one is there: beside its place, verified, fsynced, then renamed. */
export async function downloadTarget({ updater }: Session, target: TargetFile, path: string): Promise<void> {
  if ((await updater.findCachedTarget(target, path)) !== undefined) return;
  const temporary = `${path}.tmp`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    await updater.downloadTarget(target, temporary);
    const handle = await open(temporary, 'r+');
    await handle.sync().finally(() => handle.close());
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } finally {
    await rm(temporary, { force: true });
  }
}
