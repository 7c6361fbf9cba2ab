import type { ChangeFleetPolicy, ChangeKernelPolicy, FleetPolicy, KernelPolicy } from '@kmend/protocol';
import { TrustError } from '@kmend/trust';

/** The fleet's policy with the operator's changes; what they do not name stays. */
export function changedFleetPolicy(
  before: FleetPolicy,
  { checkIntervalSeconds, halted, consolidate }: ChangeFleetPolicy,
): FleetPolicy {
  return {
    ...before,
    checkIntervalSeconds: checkIntervalSeconds ?? before.checkIntervalSeconds,
    halted: halted ?? before.halted,
    ...(consolidate === undefined ? {} : { consolidate }),
  };
}

/** Whether a change may be the first policy of a kernel: one that needs no livepatch yet has none before. */
export function beginsPolicy({ channels }: ChangeKernelPolicy): boolean {
  return Object.values(channels ?? {}).some(({ noneNeeded }) => noneNeeded === true);
}

/**
 * A kernel's policy with the operator's changes. Throws `policy-invalid` for changes that would not do what they say:
 * the operator may be in a hurry, and every host obeys.
 */
export function changedPolicy(
  before: KernelPolicy,
  { channels, withdraw = [], restore = [] }: ChangeKernelPolicy,
): KernelPolicy {
  const known = new Set(before.withdrawn.map(({ serial }) => serial));
  const added = new Set(withdraw.map(({ serial }) => serial));
  for (const serial of restore) {
    if (added.has(serial))
      throw invalid(`serial ${serial} cannot be both withdrawn and restored`, 'ask for one of them');
    if (known.has(serial)) continue;
    const list = known.size === 0 ? 'none is' : [...known].sort((a, b) => a - b).join(', ');
    throw invalid(
      `serial ${serial} is not withdrawn for this kernel: there is nothing to restore`,
      `withdrawn: ${list}`,
    );
  }
  const touched = new Set([...restore, ...added]);
  const withdrawn = [...before.withdrawn.filter(({ serial }) => !touched.has(serial)), ...withdraw];
  const reasons = new Map(withdrawn.map(({ serial, reason }) => [serial, reason]));
  for (const [name, { settled, rollout }] of Object.entries(channels ?? {})) {
    for (const serial of [settled, rollout?.serial ?? null]) {
      const reason = serial === null ? undefined : reasons.get(serial);
      if (reason === undefined) continue;
      throw invalid(
        `serial ${serial} is withdrawn (${reason}): no host of ${name} would load it`,
        'restore it in the same command, or choose another',
      );
    }
  }
  return { ...before, channels: { ...before.channels, ...channels }, withdrawn };
}

function invalid(message: string, hint: string): TrustError {
  return new TrustError('policy-invalid', message, { hint });
}
