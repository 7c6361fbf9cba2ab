import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KernelError } from '../error.ts';
import { RELEASE } from './image-packages.ts';

const BUILD_ID = /^[0-9a-f]{40}$/;

interface Identity {
  readonly release: string;
  readonly buildId: string;
}

/** What lies in the folders of a store. */
export interface Found<T> {
  /** By release, then by build id; each build id once. */
  readonly entries: readonly T[];
  /** Why folders could not be read, by their names. */
  readonly damaged: ReadonlyMap<string, unknown>;
}

/**
 * Reads the folders of a store: one for each build id. Folders of earlier versions are named by the release; their records say which
 * build they hold, so they are read where they are. `read`: `undefined` where a folder holds nothing (an interrupted run).
 */
export async function readFolders<T extends Identity>(
  directory: string,
  read: (folder: string) => Promise<T | undefined>,
): Promise<Found<T>> {
  const names = await readdir(directory).catch(() => [] as string[]);
  const entries = new Map<string, T>();
  const damaged = new Map<string, unknown>();
  // Folders by build id first: of two with one build, the newer form counts.
  const byForm = names.filter((name) => BUILD_ID.test(name)).concat(names.filter((name) => RELEASE.test(name)));
  for (const name of byForm) {
    try {
      const entry = await read(join(directory, name));
      if (entry !== undefined && !entries.has(entry.buildId)) entries.set(entry.buildId, entry);
    } catch (error) {
      damaged.set(name, error);
    }
  }
  const order = ({ release, buildId }: Identity): string => `${release}\0${buildId}`;
  return { entries: [...entries.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1)), damaged };
}

/** The build that another suite has too. Throws `image-unsupported` where it goes by another release: no two releases share one. */
export function sameBuild<T extends Identity>(entries: readonly T[], { release, buildId }: Identity): T | undefined {
  const known = entries.find((one) => one.buildId === buildId);
  if (known === undefined || known.release === release) return known;
  throw new KernelError('image-unsupported', `${release} has the build id of ${known.release} (${buildId})`, {
    hint: 'a build id stands for one kernel: build one of them again',
  });
}
