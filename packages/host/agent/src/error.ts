import { type DiskFaultCode, diskFault, errorText, KmendError } from '@kmend/base';

/** Every way the agent can fail; docs/agent.md says for each what it means and the way out. */
export type AgentErrorCode =
  // how it was called
  | 'usage'
  | 'not-root'
  | 'is-root'
  | 'fetcher-unreachable'
  | 'fetcher-failed'
  | 'not-enrolled'
  | 'already-enrolled'
  | 'other-machine'
  | 'config-invalid'
  | 'root-invalid'
  | 'key-unreadable'
  | 'key-refused'
  | 'bundle-unreadable'
  | 'busy'
  | 'loader-unreachable'
  | 'interrupted'
  // server and repository
  | 'server-unreachable'
  | 'server-slow'
  | 'server-garbage'
  | 'server-refused'
  | 'server-busy'
  // this host
  | DiskFaultCode
  | 'journal-newer'
  | 'kernel-unknown'
  | 'capture-kernel'
  | 'foreign-kernel'
  | 'kernel-without-livepatch'
  | 'illegal-transition'
  | 'tool-failed'
  // before a load
  | 'modules-disabled'
  | 'load-not-permitted'
  | 'kernel-tainted'
  | 'memory-low'
  | 'wrong-kernel'
  | 'content-differs'
  | 'content-quarantined'
  | 'livepatch-unsupported'
  | 'livepatch-damaged'
  | 'lockdown'
  | 'signature-required'
  | 'signature-untrusted'
  | 'conflict-livepatch'
  | 'conflict-module'
  | 'conflict-agent'
  | 'conflict-transition'
  | 'conflict-ftrace'
  | 'conflict-kprobe'
  // packages on the same host
  | 'conflict-packages'
  | 'packages-unreadable'
  | 'packages-busy'
  | 'packages-held'
  | 'packages-failed'
  | 'no-stack'
  | 'fixes-missing'
  // the kernel's answer
  | 'load-refused'
  | 'load-failed'
  | 'transition-stuck'
  | 'revert-failed'
  | 'nothing-loaded'
  | 'nothing-older';

export class AgentError extends KmendError<AgentErrorCode> {}

/** Exit codes of `kmend-agent`. 0 to 3 are the answers of `status`; the others hold for every command. */
export const exitCodes = {
  latest: 0,
  nothingApplied: 1,
  newerAvailable: 2,
  notCovered: 3,
  unknown: 4,
  failed: 5,
  usage: 6,
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Walks an error and its causes (AggregateError members too), outermost first; bounded. */
export function* causes(error: unknown, depth = 0): Generator<unknown> {
  if (error === undefined || error === null || depth > 8) return;
  yield error;
  if (error instanceof AggregateError) for (const inner of error.errors) yield* causes(inner, depth + 1);
  if (error instanceof Error) yield* causes(error.cause, depth + 1);
}

/** The first `code` property among an error and its causes that is one of `codes`. */
export function findCode(error: unknown, codes: readonly string[]): string | undefined {
  for (const cause of causes(error)) {
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
    if (typeof code === 'string' && codes.includes(code)) return code;
  }
  return undefined;
}

/** The disk's own failure as an error with its code (`disk-full`, `disk-read-only`, `disk-failing`); any other is passed through. */
export function diskError(error: unknown, where: string): unknown {
  const fault = diskFault(error);
  if (fault === undefined) return error;
  return new AgentError(fault.code, `${fault.says} ${where}: ${errorText(error)}`, {
    cause: error,
    hint: `${fault.hint}; the agent continues by itself at its next check`,
  });
}
