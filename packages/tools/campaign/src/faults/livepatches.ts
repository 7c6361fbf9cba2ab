import type { Operator } from '@kmend/harness';
import type { Host } from '@kmend/lab';
import { type BuiltLivepatch, buildLivepatch, type Edit } from './build.ts';
import { SLEEPER } from './sleeper.ts';

/**
 * Livepatches that misbehave on purpose, and good ones beside them, for the stock kernel of the demo. All are
 * cumulative and come out of kmend's builder; each can be reverted and replaced at any moment before it does its harm.
 */

/** A livepatch that does its harm on request. */
export interface TriggeredLivepatch extends BuiltLivepatch {
  /** Line for the guest's shell, harmless on the stock kernel; any user may give it. */
  readonly trigger: string;
}

/** A livepatch whose transition cannot end while a certain task stands still. */
export interface NeverEndingLivepatch extends BuiltLivepatch {
  /** Makes such a task; returns once it stands in the patched function. For the guest's shell, before the load. */
  readonly hold: string;
  /** Lets that task continue, and the transition end. */
  readonly release: string;
  /** The task's name (`/proc/<pid>/comm`). */
  readonly task: string;
  /** The patched function on its stack. */
  readonly function: string;
}

/** What the kernel prints when one of these strikes. */
export const SAYS = {
  panicsOnLoad: 'kmend-test: panics on load',
  panicsLater: 'kmend-test: panics later',
  oops: 'BUG: kernel NULL pointer dereference',
  warning: 'kmend-test: warns',
} as const;

/** The kernel panics inside `insmod`, before the livepatch is in force: its pre-patch callback does it. */
export function panicsOnLoad(operator: Operator): Promise<BuiltLivepatch> {
  return buildLivepatch(operator, 'panics-on-load', [
    {
      path: 'fs/proc/version.c',
      edit: (text) =>
        `${showsLine(
          'kmend-test',
          'static int __init',
        )(text).replace('#include "internal.h"\n', '$&#include <kmend/livepatch.h>\n#include <linux/panic.h>\n')}
static int panics_pre_patch(struct klp_object *obj)
{
	panic("${SAYS.panicsOnLoad}\\n");
}
KMEND_CALLBACKS(panics, .pre_patch = panics_pre_patch);
`,
    },
  ]);
}

/**
 * The kernel panics when the livepatch has been in force for so long: the patched function is called by every tick of
 * the clock, and counts from the first one. Nothing is left behind by a revert or a replacement.
 */
export function panicsLater(operator: Operator, seconds = 30): Promise<BuiltLivepatch> {
  return buildLivepatch(operator, 'panics-later', [
    {
      path: 'kernel/time/timer.c',
      edit: (text) =>
        text.replace(
          /(void update_process_times\(int user_tick\)\n\{\n\tstruct task_struct \*p = current;\n)/,
          `$1	static unsigned long since;

	if (!READ_ONCE(since))
		WRITE_ONCE(since, jiffies);
	else if (time_after(jiffies, READ_ONCE(since) + ${seconds} * HZ))
		panic("${SAYS.panicsLater}\\n");
`,
        ),
    },
  ]);
}

/**
 * A reader of /proc/execdomains survives on the stock kernel, and is killed by an oops with this livepatch; the host
 * continues unless `kernel.panic_on_oops` is set.
 */
export function oopsesInPatched(operator: Operator): Promise<TriggeredLivepatch> {
  return triggered(operator, 'oopses', saysInExecdomains('\tseq_puts(m, READ_ONCE(*(char **)m->private));\n'));
}

/** Every reading of /proc/execdomains makes the kernel warn. */
export const WARNS_IN_PATCHED: Edit = saysInExecdomains(`\tWARN(1, "${SAYS.warning}\\n");\n`);

export function warnsInPatched(operator: Operator): Promise<TriggeredLivepatch> {
  return triggered(operator, 'warns', WARNS_IN_PATCHED);
}

function saysInExecdomains(statement: string): Edit {
  return {
    path: 'kernel/exec_domain.c',
    edit: (text) => text.replace(/(static int execdomains_proc_show\([^{]*\{\n)/, `$1${statement}`),
  };
}

async function triggered(operator: Operator, name: string, edit: Edit): Promise<TriggeredLivepatch> {
  const built = await buildLivepatch(operator, name, [edit]);
  return { ...built, trigger: 'cat /proc/execdomains' };
}

/**
 * The transition never ends while a process is stopped (SIGSTOP): it stands in the patched function, and the kernel's
 * fake signal does not wake it (kernel/livepatch/transition.c, `klp_send_signals`).
 */
export const NEVER_ENDS: Edit = {
  path: 'kernel/signal.c',
  edit: (text) =>
    text.replace(
      /(static bool do_signal_stop\([\s\S]*?\n\t\tcgroup_enter_frozen\(\);\n)/,
      '$1\t\tREAD_ONCE(sig->flags);\n',
    ),
};

export async function neverEnds(operator: Operator): Promise<NeverEndingLivepatch> {
  const built = await buildLivepatch(operator, 'never-ends', [NEVER_ENDS]);
  return { ...built, ...SLEEPER, function: 'do_signal_stop' };
}

/**
 * A small module whose patched function refers to nothing of the module: so it may be unloaded and loaded again while a
 * livepatch is in force. Before Linux 6.3 any other is refused then, as the kernel does not take its relocations back
 * ("livepatch: Clear relocation targets on a module removal"): with net/can/proc.c, whose statistics compare a function
 * of the module, `modprobe` fails at the second time.
 */
export const PATCHED_MODULE = 'af_key';

/** Harmless; says its number in /proc/version (vmlinux) and in /proc/net/pfkey (a module). See `goodInForce`. */
export function good(operator: Operator, number: number): Promise<BuiltLivepatch> {
  const line = `kmend-good ${number}`;
  const edits: readonly Edit[] = [
    { path: 'fs/proc/version.c', edit: showsLine(line, 'static int __init') },
    {
      path: 'net/key/af_key.c',
      edit: (text) =>
        text.replace(/(static int pfkey_seq_show\([\s\S]*?\n)(\treturn 0;\n)/, `$1\tseq_puts(f, "${line}\\n");\n$2`),
    },
  ];
  return buildLivepatch(operator, `good-${number}`, edits);
}

/** Adds a line to what the function in front of `next` shows. */
function showsLine(line: string, next: string): (text: string) => string {
  return (text) => text.replace(`\treturn 0;\n}\n\n${next}`, `\tseq_puts(m, "${line}\\n");\n$&`);
}

/**
 * Which good livepatch is in force in vmlinux and in the module, which is loaded for it: its number, or `undefined` for
 * the stock code.
 */
export async function goodInForce(
  host: Host,
): Promise<{ readonly vmlinux: number | undefined; readonly module: number | undefined }> {
  const shown = async (path: string): Promise<number | undefined> => {
    const text = await host.check(['sed', '-n', 's/^kmend-good //p', path]);
    return text === '' ? undefined : Number(text);
  };
  await host.check(['modprobe', PATCHED_MODULE]);
  return { vmlinux: await shown('/proc/version'), module: await shown('/proc/net/pfkey') };
}

/**
 * Loads and unloads the patched module in the guest's background, several times a second, until it is stopped. For the
 * guest's shell.
 */
export const MODULE_CHURN = {
  start: `setsid sh -c 'while :; do modprobe ${PATCHED_MODULE}; cat /proc/net/pfkey; rmmod ${PATCHED_MODULE}; sleep 0.1; done' </dev/null >/dev/null 2>&1 & echo $! >/run/kmend-churn`,
  stop: 'group=$(cat /run/kmend-churn); kill -- "-$group"; while kill -0 -- "-$group" 2>/dev/null; do sleep 0.1; done',
} as const;
