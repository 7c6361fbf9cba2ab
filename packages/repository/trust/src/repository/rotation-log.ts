import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, syncDirectory, writeFileAtomic } from '@kmend/base/node';
import { OnlineRole } from '@kmend/protocol';
import * as z from 'zod';
import { promoteNextKey } from '../keys/next.ts';
import { metadataFile, TIMESTAMP_FILE } from './layout.ts';

/** What a rotation still has to do, decided and verified: it is only ever carried forward. */
const Rotation = z.object({
  schema: z.literal('kmend.rotation/1'),
  timestamp: z.string(),
  root: z.object({ version: z.int(), text: z.string() }).nullable(),
  /** Online roles whose key in waiting takes its place. */
  promote: z.array(OnlineRole),
});
export type Rotation = Omit<z.infer<typeof Rotation>, 'schema'>;

function logPath(keyDirectory: string): string {
  return join(keyDirectory, 'rotation.json');
}

/**
 * Writes down what follows, durably; `finishRotation` does it. A new root and a timestamp by its keys cannot be put in
 * place in one step: whatever comes between (a crash, a full disk), it continues from here.
 */
export function beginRotation(keyDirectory: string, rotation: Rotation): Promise<void> {
  return writeFileAtomic(logPath(keyDirectory), JSON.stringify({ schema: 'kmend.rotation/1', ...rotation }), 0o600);
}

/** Finishes a rotation that was begun; repeatable. True where there was one. */
export async function finishRotation(repository: string, keyDirectory: string): Promise<boolean> {
  const path = logPath(keyDirectory);
  if (!(await exists(path))) return false;
  const { timestamp, root, promote } = Rotation.parse(JSON.parse(await readFile(path, 'utf8')));
  // First the timestamp, signed by old and new keys: it holds under the root before and after. Then the root, which
  // hosts ask for first.
  await writeFileAtomic(join(repository, TIMESTAMP_FILE), timestamp);
  if (root !== null) await writeFileAtomic(join(repository, metadataFile('root', root.version)), root.text);
  for (const role of promote) await promoteNextKey(keyDirectory, role, false);
  await rm(path);
  await syncDirectory(keyDirectory);
  return true;
}
