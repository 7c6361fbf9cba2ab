import { mkdir, opendir, readlink, rm } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { errorText, type Run } from '@kmend/base';
import { bashArguments, runOk } from '@kmend/base/node';
import { isDamage, KernelError } from '../error.ts';

/**
 * Bytes that a package may unpack to: the modules of Debian 12's kernel have 0.4 billion, its source, still packed,
 * 0.14 billion.
 */
const UNPACKED_LIMIT = 2 ** 31;
/** Files and folders of a package: those of the headers have the most, 16,000. */
const ENTRY_LIMIT = 200_000;

/**
 * Unpacks a `.deb` into a folder, without its owners and set-user-id bits, and leaves nothing there that leads out of
 * it: links that do are dropped (such as `build` in a module folder), devices and pipes are refused. So one package can
 * be unpacked over another, and all found there be read. `package-damaged` otherwise.
 */
export async function unpackPackage(
  edges: { readonly run: Run; readonly signal: AbortSignal },
  deb: string,
  into: string,
): Promise<void> {
  await mkdir(into, { recursive: true });
  // What is longer is cut off, which ends the pipeline with an error.
  const script = `set -o pipefail
    dpkg-deb --fsys-tarfile "$1" | head -c "$3" | tar -x --no-same-owner --no-same-permissions --no-selinux --no-acls --no-xattrs -C "$2"`;
  const args = bashArguments(script, deb, into, `${UNPACKED_LIMIT}`);
  await runOk(edges.run, 'bash', args, { signal: edges.signal, limits: { memory: 2 ** 31 } }).catch(
    (error: unknown) => {
      throw isDamage(error) ? damaged(deb, errorText(error), error) : error;
    },
  );
  await confine(deb, into);
}

async function confine(deb: string, root: string): Promise<void> {
  let entries = 0;
  const sweep = async (folder: string): Promise<void> => {
    for await (const entry of await opendir(folder)) {
      const path = join(folder, entry.name);
      if (++entries > ENTRY_LIMIT) throw damaged(deb, `it holds more than ${ENTRY_LIMIT} files`);
      if (entry.isDirectory()) await sweep(path);
      else if (entry.isSymbolicLink()) {
        if (leadsOut(relative(root, folder), await readlink(path))) await rm(path);
      } else if (!entry.isFile()) throw damaged(deb, `${relative(root, path)} is a device, a pipe or a socket`);
    }
  };
  await sweep(root);
}

/**
 * Whether a link in a folder may lead above the root. It may go up only at its beginning, where all is folders: behind
 * the name of another link, going up would lead from wherever that one goes.
 */
function leadsOut(folder: string, target: string): boolean {
  const steps = target.split('/').filter((step) => step !== '' && step !== '.');
  const first = steps.findIndex((step) => step !== '..');
  const up = first === -1 ? steps.length : first;
  const depth = folder === '' ? 0 : folder.split('/').length;
  return target.startsWith('/') || up > depth || steps.includes('..', up);
}

function damaged(deb: string, why: string, cause?: unknown): KernelError {
  return new KernelError('package-damaged', `${basename(deb)} cannot be unpacked: ${why}`, { cause });
}
