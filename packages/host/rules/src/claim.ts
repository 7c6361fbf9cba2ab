/**
 * What the agent tells the packages' loader: the livepatch that it loads, or has in force, in this boot. One small file
 * in `/run`, written by root, whole or not at all, before the kernel is asked; no file: nothing. Lines of `key value`,
 * in this order:
 *
 *     kmend-agent-claim 1
 *     module kmend_0123456789ab
 *     state loading
 */
export interface Claim {
  readonly module: string;
  /**
   * `loading`: the kernel is being asked, and may show it at any moment; `loaded`: it counts while the kernel shows it.
   */
  readonly state: ClaimState;
}
export type ClaimState = 'loading' | 'loaded';

export const claimRule = {
  header: 'kmend-agent-claim 1',
  states: ['loading', 'loaded'],
  module: '^kmend_[0-9a-f]{12}$',
  /** Bytes; a longer file is none. */
  limit: 256,
} as const;

/** The whole file. */
export function claimText({ module, state }: Claim): string {
  return `${claimRule.header}\nmodule ${module}\nstate ${state}\n`;
}
