import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run, runOk, sha256File } from '@kmend/base/node';

/** Documents that come with the agent and are never run. */
const DOCUMENTS = 'usr/share/doc/';

/**
 * Names what is tried: a hash over everything of a package that runs on a host. Other documents make no other agent.
 */
export async function subjectOf(deb: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-subject-'));
  try {
    await runOk(run, 'dpkg-deb', ['--raw-extract', deb, directory]);
    const hash = createHash('sha256');
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const files = entries.filter((it) => it.isFile()).map((it) => join(it.parentPath, it.name));
    for (const file of files.sort()) {
      const path = relative(directory, file);
      // The list of checksums changes with the documents.
      if (path.startsWith(DOCUMENTS) || path === 'DEBIAN/md5sums' || path === 'DEBIAN/control') continue;
      hash.update(`${path} ${await sha256File(file)}\n`);
    }
    return hash.digest('hex');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
