import { OnlineRole } from '@kmend/protocol';
import {
  type Confirm,
  generateKey,
  type LivepatchName,
  loadNextKey,
  type OfflineRole,
  type Operator,
  prepareFloor,
  prepareNextKey,
  prepareRotation,
  promoteNextKey,
  type RotatedRole,
  type Rotation,
  type SigningKey,
  type SigningPlan,
} from '@kmend/trust';
import { ServerError } from '../error.ts';
import type { ApiClient } from './api-client.ts';

export interface OfflineSigning {
  /** The operator's own directory: release key, pinned root, record. */
  readonly keys: string;
  /** Folder of the root key, if it is another one. */
  readonly rootKeys?: string | undefined;
  /** Told before anything is signed. */
  readonly confirm: Confirm;
  /** False: only shows what would be signed, and changes nothing. */
  readonly sign: boolean;
}

export interface RotateKeysOptions extends OfflineSigning {
  readonly roles: readonly RotatedRole[];
  readonly keep?: readonly LivepatchName[] | 'all';
  readonly drop?: readonly LivepatchName[];
  /** Why livepatches are dropped. */
  readonly reason?: string | undefined;
}

export interface Signed {
  /** Whether anything was signed. */
  readonly signed: boolean;
  /** Roles whose rotation had been interrupted after it was published, and is finished now. */
  readonly finished: readonly RotatedRole[];
  readonly plan: SigningPlan | null;
}

/**
 * Replaces keys: makes the new ones, has the next root name them, and retires the old ones once the server shows that
 * root. Whatever interrupts it, the same order can be given again. Throws what `openOperator` and `prepareRotation`
 * throw, and what the server answers.
 */
export async function rotateKeys(api: ApiClient, options: RotateKeysOptions): Promise<Signed> {
  const operator = await api.operator(options.keys, options.rootKeys);
  const finished = options.sign ? await retireReplaced(operator) : [];
  const roles = options.roles.filter((role) => !finished.some((it) => it === role));
  if (roles.length === 0) {
    await operator.save();
    return { signed: false, finished, plan: null };
  }
  const { keep = [], drop = [], reason } = options;
  const prepare = (fresh: FreshKeys): Promise<Rotation> => prepareRotation(operator, { fresh, keep, drop, reason });
  // Every check that can refuse comes before the first new key.
  const rehearsal = await prepare(await freshKeys(roles, async (role) => generateKey(role).key, rehearsedOnline));
  if (!options.sign) {
    const plan = nameless(rehearsal.plan);
    await options.confirm(plan);
    return { signed: false, finished, plan };
  }
  const fresh = await freshKeys(
    roles,
    (role) => prepareNextKey(directoryOf(operator, role), role),
    (online) => api.prepareKeys(online),
  );
  const rotation = await prepare(fresh);
  await options.confirm(rotation.plan);
  await api.rotate(operator, rotation);
  await seeTaken(api, options, fresh);
  return { signed: true, finished, plan: rotation.plan };
}

/** Signs root, targets and every kernel's role again, unchanged but for version and expiry. */
export async function renewRoles(api: ApiClient, options: OfflineSigning): Promise<Signed> {
  const operator = await api.operator(options.keys, options.rootKeys);
  return signIt(api, operator, options, await prepareRotation(operator, { fresh: { online: {} } }));
}

/** Moves a kernel's floor; `null`: none. */
export async function setFloor(
  api: ApiClient,
  options: OfflineSigning & { readonly buildId: string; readonly floor: number | null },
): Promise<Signed> {
  const operator = await api.operator(options.keys);
  return signIt(api, operator, options, await prepareFloor(operator, options.buildId, options.floor));
}

async function signIt(
  api: ApiClient,
  operator: Operator,
  options: OfflineSigning,
  rotation: Rotation,
): Promise<Signed> {
  const { plan } = rotation;
  await options.confirm(plan);
  if (!options.sign) return { signed: false, finished: [], plan };
  await api.rotate(operator, rotation);
  await seeTaken(api, options, { online: {} });
  return { signed: true, finished: [], plan };
}

interface FreshKeys {
  readonly root?: SigningKey;
  readonly release?: SigningKey;
  readonly online: Awaited<ReturnType<ApiClient['prepareKeys']>>;
}

async function freshKeys(
  roles: readonly RotatedRole[],
  offline: (role: OfflineRole) => Promise<SigningKey>,
  online: ApiClient['prepareKeys'],
): Promise<FreshKeys> {
  const theirs = OnlineRole.options.filter((role) => roles.includes(role));
  const made = theirs.length === 0 ? {} : await online(theirs);
  const lacking = theirs.find((role) => made[role] === undefined);
  if (lacking !== undefined)
    throw new ServerError('server-garbage', `the server made no new ${lacking} key`, {
      hint: 'see its log, and check that its version is that of this kmend',
    });
  return {
    ...(roles.includes('root') ? { root: await offline('root') } : {}),
    ...(roles.includes('release') ? { release: await offline('release') } : {}),
    online: made,
  };
}

/** Keys that are forgotten at once: to see whether a rotation could be signed. */
const rehearsedOnline: ApiClient['prepareKeys'] = async (roles) =>
  Object.fromEntries(roles.map((role) => [role, generateKey(role).key.public]));

/** New keys have no id before they are made. */
function nameless(plan: SigningPlan): SigningPlan {
  const keys = plan.keys.map((key) => (key.change === 'added' ? { ...key, keyId: '(a new key)' } : key));
  return { ...plan, keys };
}

function directoryOf(operator: Operator, role: OfflineRole): string {
  return role === 'root' ? operator.rootDirectory : operator.directory;
}

/**
 * Where the published root names a key that waits, that key takes the place of the one before it, which is kept under
 * `retired/`.
 */
async function retireReplaced(operator: Operator): Promise<OfflineRole[]> {
  const done: OfflineRole[] = [];
  for (const role of ['root', 'release'] as const) {
    const directory = directoryOf(operator, role);
    const next = await loadNextKey(directory, role);
    const named = operator.state.root.signed.roles[role === 'root' ? 'root' : 'targets'];
    if (next === undefined || named?.keyIDs.includes(next.id) !== true) continue;
    await promoteNextKey(directory, role, true);
    done.push(role);
  }
  return done;
}

/** Looks at what the server shows now: only a root that is out there retires a key. */
async function seeTaken(
  api: ApiClient,
  { keys, rootKeys }: OfflineSigning,
  { root, release }: FreshKeys,
): Promise<void> {
  const operator = await api.operator(keys, rootKeys);
  for (const role of Object.keys(operator.state.targets.signed.delegations?.roles ?? {}))
    await operator.state.role(role);
  const retired = await retireReplaced(operator);
  const missing = [...(root === undefined ? [] : ['root']), ...(release === undefined ? [] : ['release'])].find(
    (role) => !retired.some((it) => it === role),
  );
  if (missing !== undefined) {
    throw new ServerError(
      'rotation-unseen',
      `the server took the rotation, but shows no root that names the new ${missing} key`,
      {
        hint: 'both keys are kept; repeat the command',
      },
    );
  }
  await operator.save();
}
