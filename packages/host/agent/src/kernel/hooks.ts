import type { Livepatch } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { AgentError, findCode } from '../error.ts';
import { isOurs, type KernelView, LIVEPATCH_DIRECTORY } from './livepatch.ts';
import { functionKey } from './names.ts';

/** A function that ftrace calls somebody for: a line of `enabled_functions` (kernel/trace/ftrace.c, t_show). */
export interface FtraceHook {
  /** `vmlinux` or a module. */
  readonly object: string;
  readonly function: string;
  /** Changes the instruction pointer (flag I): a livepatch, or a kprobe with a post handler. */
  readonly modifiesIp: boolean;
  /**
   * Called without ftrace between (flag D): the symbol called, `''` where it is not told; `null` for any other hook.
   */
  readonly direct: string | null;
}

/** A line of `kprobes/list` (kernel/kprobes.c, report_probe). */
export interface Kprobe {
  readonly object: string;
  readonly function: string;
  /** Bytes into the function. */
  readonly offset: number;
  readonly kind: 'kprobe' | 'kretprobe';
  /** Neither switched off nor on memory that is gone. */
  readonly armed: boolean;
  /** Sits on the function's ftrace call and goes through ftrace. */
  readonly onFtrace: boolean;
}

export interface Hooks {
  /** `undefined`: tracefs is not there, or not for us. */
  readonly ftrace: readonly FtraceHook[] | undefined;
  /** `undefined`: debugfs is not there, or not for us. */
  readonly kprobes: readonly Kprobe[] | undefined;
  /** False where the owner switched ftrace off (`kernel.ftrace_enabled`): the kernel then takes no livepatch. */
  readonly ftraceEnabled: boolean;
}

export interface HookConflict {
  readonly code: 'conflict-ftrace' | 'conflict-kprobe';
  readonly object: string;
  readonly function: string;
  /** What is there and why it does not go together, for people. */
  readonly why: string;
}

const TRACEFS = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'];
const KPROBES = '/sys/kernel/debug/kprobes/list';
/** The function tracer may hook every function there is: 60,000 lines of 6.1, up to some 300 bytes each. */
const LIMIT = 32_000_000;

export async function readHooks(edges: Edges): Promise<Hooks> {
  let ftrace: string | undefined;
  for (const directory of TRACEFS) ftrace ??= await allowed(edges.files.text(`${directory}/enabled_functions`, LIMIT));
  const kprobes = await allowed(edges.files.text(KPROBES, LIMIT));
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
 * `name [module] (count) R I D<tab>tramp: …`, and on a line of its own `<tab>direct-->symbol`; later kernels have more
 * flags.
 */
export function ftraceHooksOf(text: string): readonly FtraceHook[] {
  const hooks: FtraceHook[] = [];
  for (const line of text.split('\n')) {
    const [, target] = /^\tdirect-->([^\s+]{1,511})/.exec(line) ?? [];
    const last = hooks.at(-1);
    if (target !== undefined && last !== undefined && last.direct !== null) {
      hooks[hooks.length - 1] = { ...last, direct: target };
      continue;
    }
    const [, name, module, flags = ''] =
      /^([^\s[(]{1,511})(?: \[(\w{1,64})\])? \(\d{1,10}\)((?: [A-Z]| {2})*)/.exec(line) ?? [];
    if (name === undefined) continue;
    hooks.push({
      object: module ?? 'vmlinux',
      function: name,
      modifiesIp: flags.includes('I'),
      direct: flags.includes('D') ? '' : null,
    });
  }
  return hooks;
}

/** `address  k  symbol+0x2a  module [DISABLED][OPTIMIZED][FTRACE]`. */
export function kprobesOf(text: string): readonly Kprobe[] {
  const probes: Kprobe[] = [];
  for (const line of text.split('\n')) {
    const [, kind, name, offset, rest = ''] =
      /^[0-9a-f]{1,16} {1,4}([kr]) {1,4}([^\s+]{1,511})\+0x([0-9a-f]{1,8})(?:\/0x[0-9a-f]{1,8})?( .{0,200})?$/.exec(
        line,
      ) ?? [];
    if (name === undefined || offset === undefined) continue;
    probes.push({
      object: /^ {1,4}\[?(\w{1,64})\]? /.exec(rest)?.[1] ?? 'vmlinux',
      function: name,
      offset: Number.parseInt(offset, 16),
      kind: kind === 'r' ? 'kretprobe' : 'kprobe',
      armed: !/\[(GONE|DISABLED)\]/.test(rest),
      onFtrace: rest.includes('[FTRACE]'),
    });
  }
  return probes;
}

/** Functions that kmend's own livepatches patch now, once for each place of that name: `object name`. */
export type PatchedNow = ReadonlyMap<string, number>;

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
 * What on the functions to be patched does not go together with a livepatch. On 6.1:
 * - another hook with flag I: the kernel refuses the second (kernel/trace/ftrace.c, __ftrace_hash_update_ipmodify):
 *   `conflict-kprobe` where kprobes/list shows a probe there (one with a post handler; kernel/kprobes.c,
 *   arm_kprobe_ftrace), else `conflict-ftrace`
 * - a kprobe elsewhere in the body, or in its cold part: the kernel reports nothing, but no task runs that body any
 *   more, so the probe is blind from then on without its owner knowing: `conflict-kprobe`. In a function that kmend
 *   patches already it is blind already.
 * - a direct call that is not BPF's: refused by the kernel, as nothing can make room for it
 *   (prepare_direct_functions_for_ipmodify): `conflict-ftrace` No conflict: a probe on the entry without post handler,
 *   the function tracers, and BPF's fentry and fexit, which the kernel rebuilds to share the function
 *   (kernel/bpf/trampoline.c, BPF_TRAMP_F_SHARE_IPMODIFY). They all go on firing at the old entry, before the new body.
 *   Same-named functions of one object cannot be told apart here: a hook on one counts for each.
 */
export function hookConflicts(
  hooks: Hooks,
  objects: Livepatch['objects'],
  patched: PatchedNow = new Map(),
): readonly HookConflict[] {
  const wanted = new Set(objects.flatMap((object) => object.functions.map((it) => functionKey(object.name, it.name))));
  const isWanted = (hook: { object: string; function: string }): boolean => wanted.has(keyOf(hook));
  const probes = (hooks.kprobes ?? []).filter((it) => it.armed && isWanted(it));
  const onEntry = new Set(probes.filter((it) => it.onFtrace).map(keyOf));
  const ours = new Map(patched);
  const conflicts: HookConflict[] = [];
  for (const hook of (hooks.ftrace ?? []).filter(isWanted)) {
    const left = hook.modifiesIp ? (ours.get(keyOf(hook)) ?? 0) : 0;
    if (left > 0) {
      ours.set(keyOf(hook), left - 1);
    } else if (hook.modifiesIp) {
      const probed = onEntry.has(keyOf(hook));
      const what = probed ? 'a kprobe with a post handler' : 'another tracer';
      conflicts.push(conflict(probed ? 'conflict-kprobe' : 'conflict-ftrace', hook, `${what} redirects it already`));
    } else if (hook.direct !== null && hook.direct !== '' && !hook.direct.startsWith('bpf_trampoline_')) {
      conflicts.push(conflict('conflict-ftrace', hook, `${hook.direct} is called from it directly`));
    }
  }
  for (const probe of probes.filter((it) => !it.onFtrace && !patched.has(keyOf(it)))) {
    const where = `${probe.function}+0x${probe.offset.toString(16)}`;
    conflicts.push(conflict('conflict-kprobe', probe, `the ${probe.kind} on ${where} would never fire again`));
  }
  return conflicts;
}

function keyOf(hook: { object: string; function: string }): string {
  return functionKey(hook.object, hook.function);
}

function conflict(code: HookConflict['code'], at: { object: string; function: string }, why: string): HookConflict {
  return { code, object: at.object, function: at.function, why };
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
