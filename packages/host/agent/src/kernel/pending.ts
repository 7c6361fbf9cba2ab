import type { PendingKernel } from '@kmend/protocol';
import { BuildId, Release } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { buildIdOfImage } from './image.ts';

/** What is known of the kernel that a reboot would bring. */
export interface Pending extends Omit<PendingKernel, 'serial'> {
  /** Size and time of its image, to tell a later one from it. */
  readonly file: string;
}

/**
 * The newest kernel on this host's disk, where it is not the one that runs: another release, or another build of the
 * same. `before`: what the last look found, so that an image is unpacked once. `null`: a reboot brings nothing new.
 */
export async function findPending(
  edges: Edges,
  runningBuildId: string,
  before: Pending | null,
): Promise<Pending | null> {
  const running = edges.machine.release();
  const releases: string[] = [];
  for (const name of (await edges.files.names('/boot')) ?? []) {
    const release = Release.safeParse(name.startsWith('vmlinuz-') ? name.slice('vmlinuz-'.length) : undefined).data;
    if (release !== undefined && (await edges.files.isDirectory(`/lib/modules/${release}`))) releases.push(release);
  }
  const newest = releases.sort((a, b) => byVersion(a, b, running)).at(-1);
  if (newest === undefined || byVersion(newest, running, running) < 0) return null;
  const path = `/boot/vmlinuz-${newest}`;
  const file = await edges.files.stamp(path);
  if (file === undefined) return null;
  const known = before?.release === newest && before.file === file ? before : undefined;
  const buildId = known === undefined ? await readBuildId(edges, path) : known.buildId;
  // Of the kernel that runs, as far as is known.
  if (newest === running && (buildId === null || buildId === runningBuildId)) return null;
  return { release: newest, buildId, file };
}

/** Damaged, unreadable, or packed in a way that this host cannot unpack: it does not tell. */
async function readBuildId(edges: Edges, path: string): Promise<BuildId | null> {
  const found = await buildIdOfImage(edges.files.real(path)).catch(() => undefined);
  return BuildId.safeParse(found).data ?? null;
}

/**
 * As a boot loader sorts: numbers by value, the rest by letter; of two flavours of one version the one that runs comes
 * last.
 */
export function byVersion(a: string, b: string, running: string): number {
  const [left, right] = [parts(a), parts(b)];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [one = '', other = ''] = [left[index], right[index]];
    if (one === other) continue;
    const numbers = /^\d/.test(one) && /^\d/.test(other);
    if (numbers && Number(one) !== Number(other)) return Number(one) - Number(other);
    if (!numbers && (/^\d/.test(one) || /^\d/.test(other))) return /^\d/.test(one) ? 1 : -1;
    if (numbers) continue;
    const own = flavour(running);
    if (flavour(a) !== flavour(b)) return flavour(a) === own ? 1 : flavour(b) === own ? -1 : one < other ? -1 : 1;
    return one < other ? -1 : 1;
  }
  return 0;
}

function parts(release: string): readonly string[] {
  return release.match(/\d+|[^\d.+~-]+/g) ?? [];
}

/** `cloud-amd64` of `6.1.0-47-cloud-amd64`. */
function flavour(release: string): string {
  return release.replace(/^[\d.+~-]+/, '');
}
