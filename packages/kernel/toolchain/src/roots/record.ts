import { type Dirent, lstatSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldOf, parseJson, stanzasOf } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { z } from 'zod';
import type { RootContents } from './build-root.ts';

/** `root.json` beside the system of a root: written last, so that its presence means the root is whole. */
const RootRecord = z.object({
  schema: z.literal('kmend.root/1'),
  suite: z.string(),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  packages: z.record(z.string(), z.string()),
  /** Of the system as it was made. */
  files: z.number().int(),
  bytes: z.number().int(),
});
export type RootRecord = z.infer<typeof RootRecord>;

/** dpkg's list of what is installed, in a system. */
export const DPKG_STATUS = 'var/lib/dpkg/status';

const FILE = 'root.json';
const SYSTEM = 'system';

/** Where the system of a root lies in the root's folder. */
export function systemPath(directory: string): string {
  return join(directory, SYSTEM);
}

export function recordPath(directory: string): string {
  return join(directory, FILE);
}

/** The record of a root; `undefined` where there is none, or it is of another version. */
export async function readRecord(directory: string): Promise<RootRecord | undefined> {
  const text = await readFile(recordPath(directory), 'utf8').catch(() => '');
  return RootRecord.safeParse(parseJson(text)).data;
}

/** Describes a system that was just made. */
export async function recordOf(suite: string, directory: string): Promise<RootRecord> {
  const contents = rootContents(suite, await readFile(join(systemPath(directory), DPKG_STATUS), 'utf8'));
  return { schema: 'kmend.root/1', ...contents, ...extentOf(systemPath(directory)) };
}

/** What a system of a suite consists of, by dpkg's own list of it. */
export function rootContents(suite: string, status: string): RootContents {
  const packages = installedPackages(status);
  return { suite, digest: sha256(JSON.stringify([suite, packages])), packages };
}

/** Version by name of each installed package in dpkg's own list, in the order of names. */
export function installedPackages(status: string): Record<string, string> {
  const installed = stanzasOf(status).filter((stanza) => fieldOf(stanza, 'Status').endsWith(' installed'));
  const named = installed.map((stanza) => [fieldOf(stanza, 'Package'), fieldOf(stanza, 'Version')] as const);
  return Object.fromEntries(named.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Files and links below a folder, and the bytes of the files. What vanishes meanwhile does not count. */
export function extentOf(directory: string): { readonly files: number; readonly bytes: number } {
  let files = 0;
  let bytes = 0;
  const folders = [directory];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of entriesOf(folder)) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else files++;
      if (entry.isFile()) bytes += lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
    }
  }
  return { files, bytes };
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
