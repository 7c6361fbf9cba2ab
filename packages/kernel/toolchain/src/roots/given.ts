import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import { ToolchainError } from '../error.ts';
import type { BuildRoot } from './build-root.ts';
import { installedPackages } from './record.ts';

/**
 * A root that its operator made and keeps. It is looked at each time: what it consists of is known by dpkg's list, or,
 * in a system without dpkg, by the names, sizes and times of its programs. `root-missing` where there is no system.
 */
export async function givenRoot(directory: string): Promise<BuildRoot> {
  const programs = join(directory, 'usr', 'bin');
  const names = await readdir(programs).catch(() => []);
  if (names.length === 0) {
    throw new ToolchainError('root-missing', `there is no system with programs (usr/bin) in ${directory}`, {
      hint: 'make it again, or add the kernel again with another --build-root',
    });
  }
  const status = await readFile(join(directory, 'var/lib/dpkg/status'), 'utf8').catch(() => '');
  const packages = installedPackages(status);
  const content = Object.keys(packages).length > 0 ? packages : await timesOf(programs, names);
  return { directory, contents: { suite: 'local', digest: sha256(JSON.stringify(['given', content])), packages } };
}

async function timesOf(folder: string, names: readonly string[]): Promise<string[]> {
  return await Promise.all(
    names.toSorted().map(async (name) => {
      const { size, mtimeMs } = await lstat(join(folder, name));
      return `${name} ${size} ${mtimeMs}`;
    }),
  );
}
