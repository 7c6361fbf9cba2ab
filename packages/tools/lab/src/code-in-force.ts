import { LabError } from './error.ts';
import type { Host } from './host.ts';

/** Which code a call of a kernel function reaches. */
export interface CodeInForce {
  readonly source: 'kernel' | 'livepatch';
  /** The livepatch whose code it is; only with `source: 'livepatch'`. */
  readonly livepatch?: string;
  /** A transition is under way: some tasks may still run the other code. */
  readonly transition: boolean;
  /** The lines of sysfs and tracefs this was read from. */
  readonly evidence: readonly string[];
}

/**
 * Prints, for the function $1: `module NAME` a loaded livepatch, latest first (/proc/modules lists them so);
 * `sysfs PATCH/OBJECT/FUNCTION,SYMPOS enabled=N transition=N`; `ftrace LINE` of enabled_functions.
 */
const COLLECT = `
tracing=/sys/kernel/tracing
[ -e $tracing/enabled_functions ] || mount -t tracefs tracefs $tracing || exit 1
cd /sys/kernel/livepatch || exit 1
while read -r name rest; do [ -d "$name" ] && echo "module $name"; done </proc/modules
for function in */*/"$1",*; do
  [ -d "$function" ] || continue
  patch=\${function%%/*}
  echo "sysfs $function enabled=$(cat "$patch/enabled") transition=$(cat "$patch/transition")"
done
awk -v name="$1" '$1 == name { print "ftrace " $0 }' $tracing/enabled_functions
`;

/**
 * Looks up which code is in force for a function, for fixes whose effect cannot be seen from outside. It takes both
 * sides: the livepatch that claims the function (Documentation/ABI/testing/sysfs-kernel-livepatch) and the redirection
 * that ftrace really has in place (kernel/livepatch/patch.c, `klp_ftrace_handler`).
 */
export async function codeInForce(host: Host, functionName: string): Promise<CodeInForce> {
  if (!/^[A-Za-z_][A-Za-z0-9_.]*$/.test(functionName)) {
    throw new LabError('lab-command-failed', `${functionName} is not a function name`);
  }
  return judge(await host.check(['/bin/sh', '-c', COLLECT, 'sh', functionName]));
}

/** The judgement on what `COLLECT` printed. */
export function judge(collected: string): CodeInForce {
  const lines = collected.split('\n');
  const rest = (kind: string): string[] =>
    lines.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(kind.length + 1));
  const claims = rest('sysfs').flatMap((line) => {
    const fields = /^([^/]+)\/.* enabled=(\d) transition=(\d)$/.exec(line);
    return fields === null
      ? []
      : [{ patch: fields[1] ?? '', enabled: fields[2] === '1', transition: fields[3] === '1' }];
  });
  const redirected = rest('ftrace').some(isRedirected);
  const transition = claims.some((claim) => claim.transition);
  const evidence = lines.filter((line) => /^(sysfs|ftrace) /.test(line));
  // The top of the function's stack is the livepatch enabled last, which is the one loaded last.
  const latest = rest('module').find((name) => claims.some((claim) => claim.patch === name && claim.enabled));
  if (latest === undefined || !redirected) return { source: 'kernel', transition, evidence };
  return { source: 'livepatch', livepatch: latest, transition, evidence };
}

/**
 * Whether a line of `enabled_functions` says that calls are led elsewhere: livepatch's handler, or the flag that one
 * may (I).
 */
export function isRedirected(line: string): boolean {
  return line.includes('klp_ftrace_handler') || /\(\d+\)\s+(?:[A-Z]\s+)*I(?:\s|$)/.test(line);
}
