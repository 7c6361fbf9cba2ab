import { POLICY_ROLE } from '@kmend/protocol';
import type { Metadata, Root, Targets } from '@tufjs/models';
import { kernelOfRole, signedLivepatches, signedTerms } from '../repository/kernel-role.ts';
import type { RepositoryState } from '../repository/state.ts';

/** What becomes of one key of one role. */
export interface KeyChange {
  readonly role: string;
  readonly keyId: string;
  readonly change: 'kept' | 'added' | 'removed';
}

/** What becomes of one role's metadata. */
export interface RoleChange {
  readonly role: string;
  /** Versions; `null`: it did not exist. */
  readonly from: number | null;
  readonly to: number;
  readonly expires: string;
  /** Serials of a kernel's livepatches. */
  readonly added: readonly number[];
  readonly dropped: readonly number[];
  /** A kernel's floor, where it changes; `null`: none. */
  readonly floor?: number | null;
}

/** All that a signature is about to say, for the person who gives it. */
export interface SigningPlan {
  readonly keys: readonly KeyChange[];
  readonly roles: readonly RoleChange[];
}

/** Asked before anything is signed; throws where the person does not want it. */
export type Confirm = (plan: SigningPlan) => void | Promise<void>;

/** New metadata by role name, unsigned. */
export interface Proposed {
  readonly root?: Metadata<Root>;
  readonly targets?: Metadata<Targets>;
  readonly kernels: ReadonlyMap<string, Metadata<Targets>>;
}

/** Compares what is proposed with what is in force, key by key. */
export async function planOf(state: RepositoryState, { root, targets, kernels }: Proposed): Promise<SigningPlan> {
  const before = keysByRole(state.root, state.targets);
  const after = keysByRole(root ?? state.root, targets ?? state.targets);
  const keys: KeyChange[] = [];
  for (const role of new Set([...before.keys(), ...after.keys()])) {
    const [old, fresh] = [before.get(role) ?? [], after.get(role) ?? []];
    for (const keyId of new Set([...old, ...fresh])) {
      const change = !fresh.includes(keyId) ? 'removed' : old.includes(keyId) ? 'kept' : 'added';
      keys.push({ role, keyId, change });
    }
  }
  const roles: RoleChange[] = [];
  if (root !== undefined) roles.push(changeOf('root', state.root, root));
  if (targets !== undefined) roles.push(changeOf('targets', state.targets, targets));
  for (const [name, metadata] of kernels) roles.push(kernelChange(name, await state.role(name), metadata));
  return { keys, roles };
}

/** Key ids of every role, kernels among them. */
export function keysByRole(root: Metadata<Root>, targets: Metadata<Targets>): Map<string, readonly string[]> {
  const delegated = targets.signed.delegations?.roles ?? {};
  const names = Object.keys(delegated).sort((a, b) => Number(b === POLICY_ROLE) - Number(a === POLICY_ROLE));
  return new Map([
    ...['root', 'targets', 'snapshot', 'timestamp'].map(
      (role) => [role, root.signed.roles[role]?.keyIDs ?? []] as const,
    ),
    ...names.map((role) => [role, delegated[role]?.keyIDs ?? []] as const),
  ]);
}

function changeOf(role: string, before: Metadata<Root | Targets> | undefined, after: Metadata<Root | Targets>) {
  const { version: to, expires } = after.signed;
  return { role, from: before?.signed.version ?? null, to, expires, added: [], dropped: [] };
}

function kernelChange(name: string, before: Metadata<Targets> | undefined, after: Metadata<Targets>): RoleChange {
  const buildId = kernelOfRole(name) ?? '';
  const [old, fresh] = [before, after].map((role) => [...signedLivepatches(role, buildId).keys()]);
  const floor = signedTerms(after).floor ?? null;
  return {
    ...changeOf(name, before, after),
    added: (fresh ?? []).filter((serial) => !old?.includes(serial)),
    dropped: (old ?? []).filter((serial) => !fresh?.includes(serial)),
    ...(floor === (signedTerms(before).floor ?? null) ? {} : { floor }),
  };
}
