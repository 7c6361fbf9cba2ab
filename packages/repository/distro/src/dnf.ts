import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanEnvironment, runOk } from '@kmend/base/node';
import { deliver, linkOrCopy } from './build.ts';
import type { Contents } from './contents.ts';
import { epochSeconds } from './text.ts';
import { updateinfo } from './updateinfo.ts';

/** How long metadata that was replaced stays to be had, for hosts in the middle of an update. */
const KEPT_METADATA_MS = 7 * 86_400_000;

/** Writes packages and metadata into a new folder. */
export async function writeDnf(contents: Contents, folder: string, previous: string | undefined): Promise<void> {
  const { run, signer, settings, now, packages, suites } = contents;
  await mkdir(join(folder, 'packages'));
  for (const built of packages) {
    const path = join('packages', built.fileName);
    await deliver(built, join(folder, path), previous === undefined ? undefined : join(previous, path));
  }
  const stamp = String(epochSeconds(now));
  const env = { ...cleanEnvironment(), SOURCE_DATE_EPOCH: stamp };
  const compression = ['--general-compress-type', 'gz'];
  await runOk(
    run,
    'createrepo_c',
    [
      '--quiet',
      '--checksum',
      'sha256',
      '--no-database',
      ...compression,
      '--revision',
      stamp,
      '--set-timestamp-to-revision',
      folder,
    ],
    { env },
  );
  // Everything is in one repository: advisories say what is for security, and dnf goes by them.
  const text = updateinfo(
    suites.get('early')?.offers ?? [],
    packages.map(({ spec }) => spec),
    settings.maintainer,
  );
  const repodata = join(folder, 'repodata');
  await writeFile(join(folder, 'updateinfo.xml'), text);
  await runOk(
    run,
    'modifyrepo_c',
    [
      '--mdtype',
      'updateinfo',
      '--compress-type',
      'gz',
      '--checksum',
      'sha256',
      join(folder, 'updateinfo.xml'),
      repodata,
    ],
    { env },
  );
  await rm(join(folder, 'updateinfo.xml'));
  // modifyrepo_c takes the time of the file it wrote.
  const index = join(repodata, 'repomd.xml');
  const stamped = (await readFile(index, 'utf8')).replace(/<timestamp>\d+</g, `<timestamp>${stamp}<`);
  await writeFile(index, stamped);
  const signature = await signer.detached(stamped, now, 'text');
  await writeFile(join(repodata, 'repomd.xml.asc'), signature);
  await writeFile(join(repodata, 'repomd.xml.key'), signer.keyringText);
  await writeFile(join(folder, 'key.asc'), signer.keyringText);
  if (previous !== undefined) await keepOldMetadata(repodata, join(previous, 'repodata'), now);
}

/** Files are named by their checksum: those that a repomd.xml of a moment ago names are still there. */
async function keepOldMetadata(to: string, from: string, now: Date): Promise<void> {
  const present = new Set(await readdir(to));
  for (const name of await readdir(from).catch(() => [])) {
    if (present.has(name)) continue;
    const age = now.getTime() - (await stat(join(from, name))).mtimeMs;
    if (age < KEPT_METADATA_MS) await linkOrCopy(join(from, name), join(to, name));
  }
}
