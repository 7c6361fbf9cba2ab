import { POLICY_ROLE } from '@kmend/protocol';
import { findNamedKey, keysByRole, loadNextKey, type Operator, publishedKernels } from '@kmend/trust';
import type { ApiClient } from './api-client.ts';

export interface RoleStatus {
  readonly role: string;
  readonly version: number;
  /** ISO 8601. */
  readonly expires: string;
  readonly keys: readonly string[];
  /** Where the key is: with the operator, in waiting after an interrupted rotation, not at hand, or on the server. */
  readonly where: 'here' | 'waiting' | 'not-here' | 'server';
  /** A kernel's floor. */
  readonly floor?: number;
  /** Serials of a kernel's livepatches that were not signed on this machine. */
  readonly foreign?: readonly number[];
}

export interface KeysStatus {
  /** Version of the pinned root that everything is verified from, and of the one in force. */
  readonly anchor: number;
  readonly root: number;
  readonly roles: readonly RoleStatus[];
  /** Offline keys in waiting that no published root names: an interrupted rotation takes them again. */
  readonly waiting: readonly string[];
}

/** The key of each role, where it is stored, and when its signatures expire; verified as before a signature. */
export async function keysStatus(api: ApiClient, keys: string, rootKeys?: string): Promise<KeysStatus> {
  const operator = await api.operator(keys, rootKeys);
  const { state } = operator;
  const where = { root: await whereIs(operator, 'root'), release: await whereIs(operator, 'release') };
  const kernels = new Map((await publishedKernels(operator)).map((kernel) => [kernel.name, kernel]));
  const roles: RoleStatus[] = [];
  for (const [role, ids] of keysByRole(state.root, state.targets)) {
    const metadata = await metadataOf(operator, role);
    if (metadata === undefined) continue;
    const { version, expires } = metadata;
    const online = role === 'snapshot' || role === 'timestamp' || role === POLICY_ROLE;
    const lies = online ? 'server' : where[role === 'root' ? 'root' : 'release'];
    const { floor, livepatches } = kernels.get(role) ?? {};
    const foreign = livepatches?.filter(({ own }) => !own).map(({ serial }) => serial);
    roles.push({
      ...{ role, version, expires, keys: ids, where: lies },
      ...(floor === undefined ? {} : { floor }),
      ...(foreign === undefined ? {} : { foreign }),
    });
  }
  const waiting: string[] = [];
  for (const role of ['root', 'release'] as const) {
    const next = await loadNextKey(role === 'root' ? operator.rootDirectory : operator.directory, role);
    if (next !== undefined && where[role] !== 'waiting') waiting.push(role);
  }
  await operator.save();
  return { anchor: operator.anchorVersion, root: state.root.signed.version, roles, waiting };
}

async function whereIs(operator: Operator, role: 'root' | 'release'): Promise<'here' | 'waiting' | 'not-here'> {
  const directory = role === 'root' ? operator.rootDirectory : operator.directory;
  const named = operator.state.root.signed.roles[role === 'root' ? 'root' : 'targets']?.keyIDs;
  const next = await loadNextKey(directory, role);
  if (next !== undefined && named?.includes(next.id) === true) return 'waiting';
  return (await findNamedKey(directory, role, named)) === undefined ? 'not-here' : 'here';
}

async function metadataOf({ state }: Operator, role: string) {
  if (role === 'root' || role === 'targets' || role === 'snapshot' || role === 'timestamp') return state[role].signed;
  return (await state.role(role))?.signed;
}
