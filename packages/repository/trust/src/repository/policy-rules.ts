import type { KernelPolicy } from '@kmend/protocol';
import { TrustError } from '../error.ts';

export function serialsOf(policy: KernelPolicy): number[] {
  const channels = Object.values(policy.channels).flatMap((entry) => [entry.settled, entry.rollout?.serial ?? null]);
  return [...channels, ...policy.withdrawn.map((item) => item.serial)].filter((serial) => serial !== null);
}

/** A policy in which serials are withdrawn, and chosen nowhere. */
export function withoutSerials(before: KernelPolicy, serials: readonly number[], reason: string): KernelPolicy {
  const gone = new Set(serials);
  const channels = Object.entries(before.channels).map(([name, { settled, rollout }]) => [
    name,
    {
      settled: settled !== null && gone.has(settled) ? null : settled,
      rollout: rollout !== null && gone.has(rollout.serial) ? null : rollout,
    },
  ]);
  const withdrawn = before.withdrawn.filter(({ serial }) => !gone.has(serial));
  return {
    ...before,
    channels: Object.fromEntries(channels),
    withdrawn: [...withdrawn, ...serials.map((serial) => ({ serial, reason }))],
  };
}

/**
 * What hosts would not obey is not signed: `policy-invalid` for a change that settles, rolls out or withdraws below
 * the floor.
 */
export function checkFloor(policy: KernelPolicy, before: KernelPolicy, floor: number | undefined): void {
  if (floor === undefined) return;
  const low = serialsOf({ ...policy, withdrawn: [] }).find((serial) => serial < floor);
  const known = new Set([...serialsOf({ ...before, withdrawn: [] })]);
  const withdrawn = policy.withdrawn.some(({ serial }) => serial === floor);
  if (!withdrawn && (low === undefined || known.has(low))) return;
  const what = withdrawn ? `serial ${floor} is the floor and cannot be withdrawn` : `serial ${low} is below the floor`;
  throw new TrustError('policy-invalid', `${what}: hosts of this kernel never go below serial ${floor}`, {
    hint: 'the floor is signed with the release key; move it first: kmend policy floor',
  });
}
