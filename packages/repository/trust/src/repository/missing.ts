import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TargetFile } from '@tufjs/models';
import { metadataFile, TIMESTAMP_FILE, targetFile } from './layout.ts';
import type { RepositoryState } from './state.ts';

/**
 * Files that the signed metadata names and that a repository's directory does not hold, or not whole: a restore that
 * left some out, a disk that lost them. Hosts would see that as an error of the repository, so the server must know
 * first. Contents are not read.
 */
export async function missingFiles(directory: string, state: RepositoryState): Promise<string[]> {
  const missing: string[] = [];
  const look = async (name: string, size?: number): Promise<void> => {
    const found = await stat(join(directory, name)).catch(() => undefined);
    if (found === undefined || (size !== undefined && found.size !== size)) missing.push(name);
  };
  await look(TIMESTAMP_FILE);
  // Hosts walk from the root that they know to the newest one.
  for (let version = 1; version <= state.root.signed.version; version++) await look(metadataFile('root', version));
  await look(metadataFile('snapshot', state.snapshot.signed.version));
  for (const [name, { version }] of Object.entries(state.snapshot.signed.meta)) {
    const role = name.replace(/\.json$/, '');
    await look(metadataFile(role, version));
    const metadata = role === 'targets' ? state.targets : await state.role(role).catch(() => undefined);
    // There, and not the signed file.
    if (metadata === undefined && !missing.includes(metadataFile(role, version)))
      missing.push(metadataFile(role, version));
    const targets: TargetFile[] = Object.values(metadata?.signed.targets ?? {});
    for (const { path, hashes, length } of targets) await look(targetFile(path, hashes['sha256'] ?? ''), length);
  }
  return missing;
}
