import type { Livepatch } from '@kmend/protocol';
import { ftraceHooksOf, type Hooks, hookConflicts, kprobesOf, listingBytes, type PatchedNow } from '@kmend/rules';
import type { Edges } from '../edges/edges.ts';
import { AgentError, findCode } from '../error.ts';
import { isOurs, type KernelView, LIVEPATCH_DIRECTORY } from './livepatch.ts';

const TRACEFS = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'];
const KPROBES = '/sys/kernel/debug/kprobes/list';
export async function readHooks(edges: Edges): Promise<Hooks> {
  let ftrace: string | undefined;
  for (const directory of TRACEFS)
    ftrace ??= await allowed(edges.files.text(`${directory}/enabled_functions`, listingBytes));
  const kprobes = await allowed(edges.files.text(KPROBES, listingBytes));
  const enabled = await allowed(edges.files.text('/proc/sys/kernel/ftrace_enabled'));
  return {
    ftrace: ftrace === undefined ? undefined : ftraceHooksOf(ftrace),
    kprobes: kprobes === undefined ? undefined : kprobesOf(kprobes),
    ftraceEnabled: enabled?.trim() !== '0',
  };
}

/** A locked-down kernel keeps tracefs and debugfs to itself (EPERM), even from root. */
async function allowed(text: Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await text;
  } catch (error) {
    if (findCode(error, ['EPERM', 'EACCES']) !== undefined) return undefined;
    throw error;
  }
}

/**
 * From sysfs: `/sys/kernel/livepatch/<name>/<object>/<function,sympos>`
 * (Documentation/ABI/testing/sysfs-kernel-livepatch).
 */
export async function readPatchedNow(edges: Edges, kernel: KernelView): Promise<PatchedNow> {
  const places = new Set<string>();
  for (const livepatch of kernel.livepatches.filter((it) => isOurs(it.name))) {
    for (const object of livepatch.objects) {
      const entries = (await edges.files.names(`${LIVEPATCH_DIRECTORY}/${livepatch.name}/${object.name}`)) ?? [];
      for (const entry of entries) if (entry.includes(',')) places.add(`${object.name} ${entry}`);
    }
  }
  const patched = new Map<string, number>();
  for (const place of places) {
    const key = place.slice(0, place.lastIndexOf(','));
    patched.set(key, (patched.get(key) ?? 0) + 1);
  }
  return patched;
}

/**
 * Throws `conflict-ftrace` or `conflict-kprobe` where a function to be patched is hooked in a way that does not go
 * together with a livepatch, and where ftrace is switched off. Where the kernel does not let us see, its own refusal
 * has to do.
 */
export async function assertNotHooked(edges: Edges, manifest: Livepatch, kernel: KernelView): Promise<void> {
  const hooks = await readHooks(edges);
  if (!hooks.ftraceEnabled) {
    throw new AgentError('conflict-ftrace', 'ftrace is switched off (kernel.ftrace_enabled = 0): livepatches need it', {
      hint: 'sysctl kernel.ftrace_enabled=1, and find out what switched it off; then check again',
    });
  }
  const conflicts = hookConflicts(hooks, manifest.objects, await readPatchedNow(edges, kernel));
  const [first] = conflicts;
  if (first === undefined) return;
  const where = first.object === 'vmlinux' ? first.function : `${first.function} [${first.object}]`;
  const more = conflicts.length > 1 ? ` (and ${conflicts.length - 1} more)` : '';
  throw new AgentError(first.code, `${where} is hooked: ${first.why}${more}`, {
    details: { function: first.function, object: first.object, conflicts: conflicts.slice(0, 50) },
    hint:
      first.code === 'conflict-kprobe'
        ? `see ${KPROBES}; remove that probe, then check again (and set it again afterwards, on the new function)`
        : 'see /sys/kernel/tracing/enabled_functions; stop that tracer, then check again',
  });
}
