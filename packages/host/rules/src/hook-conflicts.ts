import {
  directCall,
  hookedFunction,
  hookFlags,
  kprobe,
  kprobeAsleep,
  kprobeModule,
  kprobeOnEntry,
  sharedCall,
} from './hooks.ts';
import { functionKey, type PatchedObject } from './names.ts';
import { patternOf } from './pattern.ts';

/** A function with a tracer attached: a line of `enabled_functions` (kernel/trace/ftrace.c, t_show). */
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

/** Functions that kmend's own livepatches patch now, once for each place of that name: `object name`. */
export type PatchedNow = ReadonlyMap<string, number>;

const HOOKED = patternOf(hookedFunction);
const FLAGS = patternOf(hookFlags);
const DIRECT = patternOf(directCall);
const SHARED = patternOf(sharedCall);
const KPROBE = patternOf(kprobe);
const MODULE = patternOf(kprobeModule);
const ASLEEP = patternOf(kprobeAsleep);
const ON_ENTRY = patternOf(kprobeOnEntry);

/**
 * `name [module] (count) R I D<tab>tramp: …`, and on a line of its own `<tab>direct-->symbol`; later kernels have more
 * flags.
 */
export function ftraceHooksOf(text: string): readonly FtraceHook[] {
  const hooks: FtraceHook[] = [];
  for (const line of text.split('\n')) {
    const [, target] = DIRECT.exec(line) ?? [];
    const last = hooks.at(-1);
    if (target !== undefined && last !== undefined && last.direct !== null) {
      hooks[hooks.length - 1] = { ...last, direct: target };
      continue;
    }
    const [head = '', name, module] = HOOKED.exec(line) ?? [];
    if (name === undefined) continue;
    const [, flags = ''] = FLAGS.exec(line.slice(head.length)) ?? [];
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
    const [, kind, name, offset, rest = ''] = KPROBE.exec(line) ?? [];
    if (name === undefined || offset === undefined) continue;
    probes.push({
      object: MODULE.exec(rest)?.[1] ?? 'vmlinux',
      function: name,
      offset: Number.parseInt(offset, 16),
      kind: kind === 'r' ? 'kretprobe' : 'kprobe',
      armed: !ASLEEP.test(rest),
      onFtrace: ON_ENTRY.test(rest),
    });
  }
  return probes;
}

/**
 * What on the functions to be patched does not go together with a livepatch. On 6.1:
 * - another hook with flag I: the kernel refuses the second (kernel/trace/ftrace.c, __ftrace_hash_update_ipmodify):
 *   `conflict-kprobe` where kprobes/list shows a probe there (one with a post handler; kernel/kprobes.c,
 *   arm_kprobe_ftrace), else `conflict-ftrace`
 * - a kprobe elsewhere in the body, or in its cold part: the kernel says nothing, but that body no longer runs,
 *   so the probe is blind from then on without its owner knowing: `conflict-kprobe`. In a function that kmend patches
 *   already it is blind already.
 * - a direct call that is not BPF's: refused by the kernel, as nothing can make room for it
 *   (prepare_direct_functions_for_ipmodify): `conflict-ftrace` No conflict: a probe on the entry without post handler,
 *   the function tracers, and BPF's fentry and fexit, which the kernel rebuilds to share the function
 *   (kernel/bpf/trampoline.c, BPF_TRAMP_F_SHARE_IPMODIFY). They all keep firing at the old entry, before the new body.
 *   Same-named functions of one object cannot be told apart here: a hook on one counts for each.
 */
export function hookConflicts(
  hooks: Hooks,
  objects: readonly PatchedObject[],
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
    } else if (hook.direct !== null && hook.direct !== '' && !SHARED.test(hook.direct)) {
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
