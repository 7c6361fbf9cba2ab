import { type LoadedLivepatch, ObjectName } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';

export const LIVEPATCH_DIRECTORY = '/sys/kernel/livepatch';

/** A livepatch as sysfs shows it now (Documentation/ABI/testing/sysfs-kernel-livepatch). */
export interface KernelLivepatch {
  readonly name: string;
  readonly enabled: boolean;
  readonly transition: boolean;
  readonly objects: readonly { readonly name: string; readonly patched: boolean }[];
}

/** What of livepatches is in the kernel right now. */
export interface KernelView {
  /** False where the kernel was built without CONFIG_LIVEPATCH. */
  readonly supported: boolean;
  readonly livepatches: readonly KernelLivepatch[];
  /** Every loaded module, by name (kernel/module/procfs.c). */
  readonly modules: readonly string[];
}

/** Whether a module is a livepatch of kmend: `kmend_` and the 12 hex digits of its id. */
export function isOurs(name: string): boolean {
  return /^kmend_[0-9a-f]{12}$/.test(name);
}

export async function readKernelView(edges: Edges): Promise<KernelView> {
  const names = await edges.files.names(LIVEPATCH_DIRECTORY);
  const livepatches: KernelLivepatch[] = [];
  for (const name of names ?? []) {
    const livepatch = ObjectName.safeParse(name).success ? await readLivepatch(edges, name) : undefined;
    if (livepatch !== undefined) livepatches.push(livepatch);
  }
  const modules = (await edges.files.text('/proc/modules', 4_000_000)) ?? '';
  return {
    supported: names !== undefined,
    livepatches,
    modules: modules.split('\n').flatMap((line) => line.split(' ', 1)[0] || []),
  };
}

/** Names alone, whatever state they are in; the same from any of kmend's programs. */
export async function kmendLivepatches({ files }: Edges): Promise<string[]> {
  return ((await files.names(LIVEPATCH_DIRECTORY)) ?? []).filter(isOurs).slice(0, 1000);
}

/** `undefined` where it is going away while we look. */
async function readLivepatch(edges: Edges, name: string): Promise<KernelLivepatch | undefined> {
  const directory = `${LIVEPATCH_DIRECTORY}/${name}`;
  const enabled = await edges.files.text(`${directory}/enabled`);
  const transition = await edges.files.text(`${directory}/transition`);
  if (enabled === undefined || transition === undefined) return undefined;
  const objects: { name: string; patched: boolean }[] = [];
  for (const entry of (await edges.files.names(directory)) ?? []) {
    const patched = await edges.files.text(`${directory}/${entry}/patched`);
    if (patched !== undefined && ObjectName.safeParse(entry).success) {
      objects.push({ name: entry, patched: patched.trim() === '1' });
    }
  }
  return { name, enabled: enabled.trim() === '1', transition: transition.trim() === '1', objects };
}

/** The shape reports carry; `serialOf` knows kmend's own. */
export function toLoaded(livepatch: KernelLivepatch, serialOf: (name: string) => number | null): LoadedLivepatch {
  const { name, enabled, transition } = livepatch;
  return { name, enabled, transition, serial: serialOf(name), objects: livepatch.objects.slice(0, 2000) };
}
