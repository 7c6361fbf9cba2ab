import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { PackageFormat } from '@kmend/protocol/packages';
import { ServerError } from '../error.ts';

const SIGNED_TEXT = '-----BEGIN PGP SIGNED MESSAGE-----';
const SIGNATURE = '-----BEGIN PGP SIGNATURE-----';

/**
 * Looks whether a folder is the repository that it is said to be. Whether the signatures are good is for the hosts to
 * say, which know the key: this keeps out the wrong folder. Throws `packages-incomplete`, `packages-unsigned`.
 */
export async function checkClaim(format: PackageFormat, folder: string): Promise<void> {
  if (format === 'dnf') {
    await begins(folder, 'repodata/repomd.xml', '<?xml', 'packages-incomplete');
    await begins(folder, 'repodata/repomd.xml.asc', SIGNATURE, 'packages-unsigned');
    return;
  }
  const suites = await readdir(join(folder, 'dists')).catch(() => []);
  if (suites.length === 0) throw incomplete('dists/*/InRelease');
  for (const suite of suites) await begins(folder, `dists/${suite}/InRelease`, SIGNED_TEXT, 'packages-unsigned');
}

async function begins(
  folder: string,
  path: string,
  text: string,
  otherwise: 'packages-incomplete' | 'packages-unsigned',
): Promise<void> {
  const head = await headOf(join(folder, path), text.length);
  if (head === undefined) throw incomplete(path);
  if (head === text) return;
  throw new ServerError(otherwise, `${path} does not begin with ${text}`, {
    hint: 'write the repository again with kmend repo, on the machine with its key',
  });
}

function incomplete(path: string): ServerError {
  return new ServerError(
    'packages-incomplete',
    `there is no ${path}: the repository is incomplete or of another format`,
    {
      hint: 'upload the folder that kmend repo wrote, as its own format',
    },
  );
}

async function headOf(path: string, length: number): Promise<string | undefined> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EISDIR') return undefined;
    throw error;
  } finally {
    await file.close();
  }
}
