import type { BuildId } from './values.ts';

/** Names inside the signed repository. Every path is relative to `targets/` (TUF specification 1.0.34, section 3). */

/** Delegated role of one kernel, signed with the release key. */
export function kernelRole(buildId: BuildId): string {
  return `kernel-${buildId}`;
}

/** Paths that role may sign. */
export function kernelPattern(buildId: BuildId): string {
  return `kernels/${buildId}/*/*`;
}

/** The module of a livepatch. */
export function modulePath(buildId: BuildId, serial: number): string {
  return `kernels/${buildId}/${serial}/livepatch.ko`;
}

/** Its `livepatch.json`. */
export function manifestPath(buildId: BuildId, serial: number): string {
  return `kernels/${buildId}/${serial}/livepatch.json`;
}

/** Its `proof.json`; absent where it was published unproven. */
export function proofPath(buildId: BuildId, serial: number): string {
  return `kernels/${buildId}/${serial}/proof.json`;
}

/** Delegated role for rollout policy, signed online. */
export const POLICY_ROLE = 'policy';

/** Paths the policy role may sign. */
export const POLICY_PATTERN = 'policy/*';

/** Policy for the whole fleet. */
export const FLEET_POLICY_PATH = 'policy/fleet.json';

/** Policy for one kernel. */
export function kernelPolicyPath(buildId: BuildId): string {
  return `policy/${buildId}.json`;
}
