import { kernelRole, type OnlineRole, POLICY_ROLE, type PublicKey, type RotateRequest } from '@kmend/protocol';
import { type Key, Metadata, MetadataKind, type Root, type Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import { keyId, type SigningKey } from '../keys/key.ts';
import type { OfflineRole } from '../keys/store.ts';
import { expiry, signedText } from '../metadata/signing.ts';
import { againKernel, signedLivepatches } from '../repository/kernel-role.ts';
import { publishedKernels } from './kernels.ts';
import { type Operator, requireOwn } from './operator.ts';
import { type Proposed, planOf, type SigningPlan } from './plan.ts';

export type RotatedRole = OfflineRole | OnlineRole;

/** A published livepatch. */
export interface LivepatchName {
  readonly buildId: string;
  readonly serial: number;
}

export interface RotationOptions {
  /** Keys that replace others, by role; none at all: every offline role is renewed. */
  readonly fresh: {
    readonly root?: SigningKey;
    readonly release?: SigningKey;
    readonly online: Partial<Readonly<Record<OnlineRole, PublicKey>>>;
  };
  /**
   * Where the release key is replaced: livepatches that were not signed on this machine and stay all the same; `all`
   * of them.
   */
  readonly keep?: readonly LivepatchName[] | 'all';
  /** Livepatches that go with the old release key. */
  readonly drop?: readonly LivepatchName[];
  readonly reason?: string | undefined;
}

/** What is about to be signed, and the signing of it. */
export interface Rotation {
  readonly plan: SigningPlan;
  sign(): Promise<RotateRequest>;
}

/**
 * Prepares offline roles that name other keys, or the same for longer: one version up each, everything else as it is.
 * Nothing is signed here. The next root is signed by its keys and by those before it; targets by both release keys
 * where the old one is at hand, so that hosts can read it before and after the new root. Throws `keys-missing`,
 * `key-wrong`, `livepatch-foreign`.
 */
export async function prepareRotation(operator: Operator, options: RotationOptions): Promise<Rotation> {
  const { state, clock } = operator;
  const { fresh } = options;
  const renews = fresh.root === undefined && fresh.release === undefined && Object.keys(fresh.online).length === 0;
  const { policy, ...ofRoot } = fresh.online;
  const replacesInRoot = fresh.root !== undefined || fresh.release !== undefined || Object.keys(ofRoot).length > 0;
  const resignsKernels = renews || fresh.release !== undefined;
  const release = resignsKernels || policy !== undefined ? await releaseKeys(operator, fresh.release) : [];
  const rootKeys =
    renews || replacesInRoot ? [await operator.rootKey(), ...(fresh.root === undefined ? [] : [fresh.root])] : [];
  const drop = fresh.release === undefined ? [] : await dropped(operator, options);
  const kernels = new Map<string, Metadata<Targets>>();
  if (resignsKernels) {
    for (const { name, buildId, role: before } of await publishedKernels(operator)) {
      for (const key of release.filter((it) => it.id !== fresh.release?.id)) requireOwn(key, name, before);
      const serials = drop.filter((it) => it.buildId === buildId).map(({ serial }) => serial);
      kernels.set(name, againKernel(before, buildId, { drop: new Set(serials) }, clock));
    }
  }
  const proposed: Proposed = {
    ...(renews || replacesInRoot ? { root: nextRoot(operator, fresh) } : {}),
    ...(release.length > 0 ? { targets: nextTargets(operator, fresh) } : {}),
    kernels,
  };
  return {
    plan: await planOf(state, proposed),
    async sign() {
      const metadata: Record<string, string> = {};
      if (proposed.root !== undefined) metadata['root'] = signedText(proposed.root, ...rootKeys);
      if (proposed.targets !== undefined) metadata['targets'] = signedText(proposed.targets, ...release);
      for (const [name, role] of kernels) metadata[name] = signedText(role, ...release);
      return { metadata, ...(options.reason === undefined ? {} : { reason: options.reason }) };
    },
  };
}

/** Prepares a kernel's role with another floor; `null`: none. Throws `not-found`, `key-wrong`. */
export async function prepareFloor(operator: Operator, buildId: string, floor: number | null): Promise<Rotation> {
  const name = kernelRole(buildId);
  const before = await operator.state.role(name);
  if (before === undefined)
    throw new TrustError('not-found', `no livepatch is published for kernel ${buildId}`, {
      hint: 'publish one first: kmend publish',
    });
  if (floor !== null && !signedLivepatches(before, buildId).has(floor)) {
    throw new TrustError(
      'not-found',
      `kernel ${buildId} has no livepatch with serial ${floor}: it cannot be the floor`,
    );
  }
  const key = await operator.releaseKey();
  requireOwn(key, name, before);
  const after = againKernel(before, buildId, { floor }, operator.clock);
  return {
    plan: await planOf(operator.state, { kernels: new Map([[name, after]]) }),
    sign: async () => ({ metadata: { [name]: signedText(after, key) } }),
  };
}

/** The old release key first; it may be lost where a new one takes its place. */
async function releaseKeys(operator: Operator, fresh: SigningKey | undefined): Promise<SigningKey[]> {
  if (fresh === undefined) return [await operator.releaseKey()];
  const old = await operator.findReleaseKey();
  return old === undefined ? [fresh] : [old, fresh];
}

/**
 * A thief of the release key may have published with it. Every livepatch that was not signed on this machine is to be
 * kept or dropped by name; what is named must be there.
 */
async function dropped(
  operator: Operator,
  { keep = [], drop = [] }: RotationOptions,
): Promise<readonly LivepatchName[]> {
  const same = (a: LivepatchName) => (b: LivepatchName) => a.buildId === b.buildId && a.serial === b.serial;
  const all = (await publishedKernels(operator)).flatMap(({ buildId, livepatches }) =>
    livepatches.map((it) => ({ ...it, buildId })),
  );
  const unknown = [...drop, ...(keep === 'all' ? [] : keep)].find((it) => !all.some(same(it)));
  if (unknown !== undefined) {
    throw new TrustError('not-found', `kernel ${unknown.buildId} has no livepatch with serial ${unknown.serial}`, {
      hint: 'kmend keys status lists the livepatches to decide on',
    });
  }
  const kept = (it: LivepatchName): boolean => keep === 'all' || keep.some(same(it));
  const open = all.filter((it) => !it.own && !kept(it) && !drop.some(same(it)));
  if (open.length === 0) return drop;
  const names = open.map(({ buildId, serial, id }) => `${buildId}/${serial} (${id})`);
  throw new TrustError('livepatch-foreign', `not signed on this machine: ${names.join(', ')}`, {
    hint: 'decide for each: --keep BUILD-ID/SERIAL for one of another operator, --drop BUILD-ID/SERIAL otherwise',
    details: { livepatches: open.map(({ buildId, serial, id }) => ({ buildId, serial, id })) },
  });
}

type Fresh = RotationOptions['fresh'];

function nextRoot({ state, clock }: Operator, { root, release, online }: Fresh): Metadata<Root> {
  const replaced: Partial<Record<string, PublicKey | undefined>> = {
    root: root?.public,
    targets: release?.public,
    snapshot: online.snapshot,
    timestamp: online.timestamp,
  };
  const { signed } = state.root;
  const named = Object.entries(signed.roles).map(([name, role]) => ({ name, role, ...keyOf(role, replaced[name]) }));
  return Metadata.fromJSON(MetadataKind.Root, {
    signatures: [],
    signed: {
      ...signed.toJSON(),
      version: signed.version + 1,
      expires: expiry('root', clock),
      keys: keysInUse(signed.keys, named),
      roles: Object.fromEntries(named.map(({ name, role, ids }) => [name, { ...role.toJSON(), keyids: ids }])),
    },
  });
}

/** The key that takes a role over, if one does, and the ids that the role names then. */
interface NamedKey {
  readonly key: PublicKey | undefined;
  readonly ids: string[];
}

function keyOf({ keyIDs }: { readonly keyIDs: string[] }, key: PublicKey | undefined): NamedKey {
  return { key, ids: key === undefined ? keyIDs : [keyId(key)] };
}

/** The keys of a signed role as JSON: those that some role still names, and the new ones. */
function keysInUse(before: Readonly<Record<string, Key>>, named: readonly NamedKey[]) {
  const known = Object.fromEntries(Object.entries(before).map(([id, key]) => [id, key.toJSON()]));
  for (const { key } of named) if (key !== undefined) known[keyId(key)] = key;
  const used = new Set(named.flatMap(({ ids }) => ids));
  return Object.fromEntries(Object.entries(known).filter(([id]) => used.has(id)));
}

function nextTargets({ state, clock }: Operator, { release, online }: Fresh): Metadata<Targets> {
  const { signed } = state.targets;
  const named = Object.values(signed.delegations?.roles ?? {}).map((role) => ({
    role,
    ...keyOf(role, role.name === POLICY_ROLE ? online.policy : release?.public),
  }));
  return Metadata.fromJSON(MetadataKind.Targets, {
    signatures: [],
    signed: {
      ...signed.toJSON(),
      version: signed.version + 1,
      expires: expiry('targets', clock),
      delegations: {
        ...signed.delegations?.toJSON(),
        keys: keysInUse(signed.delegations?.keys ?? {}, named),
        roles: named.map(({ role, ids }) => ({ ...role.toJSON(), keyids: ids })),
      },
    },
  });
}
