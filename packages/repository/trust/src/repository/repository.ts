import { join } from 'node:path';
import { type Clock, createQueue } from '@kmend/base';
import { exists } from '@kmend/base/node';
import {
  FLEET_POLICY_PATH,
  FleetPolicy,
  KernelPolicy,
  kernelPolicyPath,
  kernelRole,
  type Livepatch,
  type LivepatchTarget,
  manifestPath,
  type OnlineRole,
  POLICY_ROLE,
  type PublicKey,
  type PublishRequest,
  type RotateRequest,
} from '@kmend/protocol';
import type { TargetFile } from '@tufjs/models';
import type { z } from 'zod';
import { parseAnchor, type TrustedRoot } from '../client/chain.ts';
import { TrustError } from '../error.ts';
import { findAnchor, pinAnchor } from '../keys/anchor.ts';
import { dropNextKeys, loadNextOnlineKeys, writeNextKey } from '../keys/next.ts';
import { loadOnlineKeys, ONLINE_ROLES, type OnlineKeys } from '../keys/store.ts';
import { isOverlong, type Lifetime, needsSigning } from '../metadata/signing.ts';
import { checkManifest, checkProof, verifyPublication } from './accept.ts';
import { parseManifest } from './artifact.ts';
import { kernelOfRole, lastSerial, settledPolicy, signedLivepatches, signedTerms } from './kernel-role.ts';
import { metadataFile, targetFile } from './layout.ts';
import { type Changes, checkOnlineKeys, commitOnline, prepareOnline, type Versions } from './online.ts';
import { checkFloor, serialsOf, withoutSerials } from './policy-rules.ts';
import { parseProof } from './proof.ts';
import { verifyRotation } from './rotation.ts';
import { beginRotation, finishRotation } from './rotation-log.ts';
import { directoryReader, loadState, type RepositoryState } from './state.ts';
import { bringTarget } from './target.ts';

export interface RepositoryOptions {
  /** Directory of the static files. */
  readonly repository: string;
  /** Directory of the online keys, with the root that was pinned beside them. */
  readonly keyDirectory: string;
  readonly clock: Clock;
}

export interface Published extends Versions {
  readonly livepatch: Livepatch;
  readonly description: LivepatchTarget;
}

export interface RoleAge {
  readonly role: Lifetime;
  readonly version: number;
  readonly expires: Date;
  /**
   * Holds longer than its role may: a clock that was ahead signed it. Online roles are signed again by
   * `refreshOnline`.
   */
  readonly overlong: boolean;
}

/** The server's side of a repository. Changes follow one another; each is visible whole or not at all. */
export interface Repository {
  /** As of the last load or change by this object. */
  readonly state: RepositoryState;
  /** Versions and expiry of the roles every host needs. */
  ages(): Promise<readonly RoleAge[]>;
  /** Accepts a publication; `upload` gives the local path of an uploaded file by its SHA-256. */
  acceptPublication(request: PublishRequest, upload: (sha256: string) => string): Promise<Published>;
  fleetPolicy(): Promise<FleetPolicy>;
  kernelPolicy(buildId: string): Promise<KernelPolicy | undefined>;
  /** Changes the fleet's policy; `issued` is set here. */
  setFleetPolicy(change: (before: FleetPolicy) => FleetPolicy): Promise<Versions>;
  /** Changes a kernel's policy; every serial in it must be published. `publication-invalid` for an unknown kernel. */
  setKernelPolicy(buildId: string, change: (before: KernelPolicy) => KernelPolicy): Promise<Versions>;
  /** Makes keys that are to replace online ones, in place of any that wait; they count once a rotation names them. */
  prepareKeys(roles: readonly OnlineRole[]): Promise<Partial<Record<OnlineRole, PublicKey>>>;
  /**
   * Accepts offline roles signed again: renewed, with other keys, without livepatches that are dropped
   * (`prepareRotation`).
   */
  acceptRotation(request: RotateRequest): Promise<Versions>;
  /**
   * Signs snapshot, timestamp and policy again where less than half of a life is left, or more than a whole one; says
   * whether it did.
   */
  refreshOnline(): Promise<boolean>;
  /** timestamp.json as it is served: what every host asks for at every check. */
  readonly timestampText: string;
  /** Every livepatch the repository holds. */
  livepatches(): Promise<readonly { readonly buildId: string; readonly description: LivepatchTarget }[]>;
  /** Manifest of a published livepatch, from the repository's files. */
  manifest(buildId: string, serial: number): Promise<Livepatch | undefined>;
}

/**
 * Opens and verifies a repository, and finishes a rotation that was interrupted. Throws `repository-missing`,
 * `repository-damaged`, `key-wrong`, and what loading keys throws.
 */
export async function openRepository(options: RepositoryOptions): Promise<Repository> {
  const { repository, keyDirectory } = options;
  if (!(await exists(join(repository, 'metadata')))) {
    throw new TrustError('repository-missing', `${repository} holds no repository`, {
      hint: 'make one with "kmend repo init"',
    });
  }
  await finishRotation(repository, keyDirectory);
  // Their rotation was not completed; it begins again, with new ones.
  await dropNextKeys(keyDirectory);
  const signer: Signer = { keys: await loadOnlineKeys(keyDirectory), anchor: await anchorOf(options) };
  const state = await load(repository, signer);
  checkOnlineKeys(state, signer.keys);
  return new OpenRepository(options, signer, state);
}

/** A repository that an earlier version made has no pinned root: the first one that is seen is pinned. */
async function anchorOf({ repository, keyDirectory }: RepositoryOptions): Promise<TrustedRoot> {
  const pinned = await findAnchor(keyDirectory);
  if (pinned !== undefined) return pinned;
  const name = metadataFile('root', 1);
  const first = await directoryReader(repository)(name);
  if (first === undefined) throw new TrustError('repository-damaged', `the repository lacks ${name}`);
  const anchor = parseAnchor(first, name);
  await pinAnchor(keyDirectory, first);
  return anchor;
}

/** What this side signs with, and verifies from. */
interface Signer {
  readonly keys: OnlineKeys;
  readonly anchor: TrustedRoot;
}

function load(repository: string, { anchor }: Signer): Promise<RepositoryState> {
  return loadState(directoryReader(repository), anchor, 'repository-damaged');
}

class OpenRepository implements Repository {
  state: RepositoryState;
  readonly #options: RepositoryOptions;
  #signer: Signer;
  /** The timestamp of a rotation that is being put in place. */
  #served: string | undefined;
  readonly #queue = createQueue();

  constructor(options: RepositoryOptions, signer: Signer, state: RepositoryState) {
    this.#options = options;
    this.#signer = signer;
    this.state = state;
  }

  get timestampText(): string {
    return this.#served ?? this.state.timestampText;
  }

  async ages(): Promise<readonly RoleAge[]> {
    const { root, timestamp, snapshot, targets } = this.state;
    // Lost or damaged since: `missingFiles` says so, and the others' ages are wanted all the same.
    const policy = await this.state.role(POLICY_ROLE).catch(() => undefined);
    const { clock } = this.#options;
    const age = (role: Lifetime, { version, expires }: { version: number; expires: string }): RoleAge => ({
      role,
      version,
      expires: new Date(expires),
      overlong: isOverlong(role, expires, clock),
    });
    return [
      age('root', root.signed),
      age('timestamp', timestamp.signed),
      age('snapshot', snapshot.signed),
      age('targets', targets.signed),
      ...(policy === undefined ? [] : [age(POLICY_ROLE, policy.signed)]),
    ];
  }

  acceptPublication(request: PublishRequest, upload: (sha256: string) => string): Promise<Published> {
    return this.#change(async () => {
      const accepted = await verifyPublication(this.state, request, this.#options.clock);
      const { manifest, module, proof } = accepted;
      for (const target of [manifest, module, ...(proof === undefined ? [] : [proof])]) {
        await bringTarget(this.#options.repository, target, upload(request.targets[target.path] ?? ''));
      }
      const livepatch = parseManifest(await this.#readTarget(manifest), manifest.path);
      checkManifest(request.buildId, livepatch, accepted);
      if (proof !== undefined) checkProof(livepatch, parseProof(await this.#readTarget(proof), proof.path));
      const before = await this.#readKernelPolicy(request.buildId);
      const policy = settledPolicy(before, request, this.#options.clock);
      const versions = await this.#commit({
        metadata: request.metadata,
        policies: { [kernelPolicyPath(request.buildId)]: policy },
      });
      return { ...versions, livepatch, description: accepted.description };
    });
  }

  async fleetPolicy(): Promise<FleetPolicy> {
    const policy = await this.#readPolicy(FLEET_POLICY_PATH, FleetPolicy);
    if (policy === undefined) throw new TrustError('repository-damaged', 'the repository has no fleet policy');
    return policy;
  }

  kernelPolicy(buildId: string): Promise<KernelPolicy | undefined> {
    return this.#readKernelPolicy(buildId);
  }

  setFleetPolicy(change: (before: FleetPolicy) => FleetPolicy): Promise<Versions> {
    return this.#change(async () => {
      const policy = { ...change(await this.fleetPolicy()), issued: this.#options.clock.now().toISOString() };
      return this.#commit({ policies: { [FLEET_POLICY_PATH]: checked(FleetPolicy, policy) } });
    });
  }

  setKernelPolicy(buildId: string, change: (before: KernelPolicy) => KernelPolicy): Promise<Versions> {
    return this.#change(async () => {
      const role = await this.state.role(kernelRole(buildId));
      const before = await this.#readKernelPolicy(buildId);
      const issued = this.#options.clock.now().toISOString();
      // A fresh kernel that needs no livepatch yet has a policy before it has a role.
      const start = before ?? { schema: 'kmend.kernel-policy/1', buildId, channels: {}, withdrawn: [], issued };
      const policy = checked(KernelPolicy, { ...change(start), buildId, issued });
      const fresh = role === undefined || before === undefined;
      if (fresh && !Object.values(policy.channels).some((channel) => channel.noneNeeded === true)) {
        throw new TrustError('policy-invalid', `no livepatch is published for kernel ${buildId}`);
      }
      const published = signedLivepatches(role, buildId);
      const last = lastSerial(role, buildId);
      const withdrawn = new Set(policy.withdrawn.map(({ serial }) => serial));
      for (const serial of serialsOf(policy)) {
        // A dropped one stays withdrawn.
        if (!published.has(serial) && !(withdrawn.has(serial) && serial <= last)) {
          throw new TrustError('policy-invalid', `kernel ${buildId} has no livepatch with serial ${serial}`);
        }
      }
      checkFloor(policy, start, signedTerms(role).floor);
      return this.#commit({ policies: { [kernelPolicyPath(buildId)]: policy } });
    });
  }

  prepareKeys(roles: readonly OnlineRole[]): Promise<Partial<Record<OnlineRole, PublicKey>>> {
    return this.#change(async () => {
      const made: Partial<Record<OnlineRole, PublicKey>> = {};
      for (const role of new Set(roles)) made[role] = (await writeNextKey(this.#options.keyDirectory, role)).public;
      return made;
    });
  }

  acceptRotation(request: RotateRequest): Promise<Versions> {
    return this.#change(async () => {
      const { repository, keyDirectory, clock } = this.#options;
      const current = this.#signer.keys;
      const next = await loadNextOnlineKeys(keyDirectory);
      const accepted = await verifyRotation(this.state, request, { current, next }, clock);
      const promote = ONLINE_ROLES.filter((role) => accepted.keys[role] !== current[role]);
      const replaced = Object.fromEntries(promote.map((role) => [role, current[role]]));
      const policies = await this.#withoutDropped(accepted.dropped, request.reason);
      const { keys, metadata, root } = accepted;
      const input = { repository, keys, clock, current: this.state, metadata, policies, replaced };
      const { text: timestamp, versions } = await prepareOnline(input);
      const version = this.state.root.signed.version + 1;
      const log = { timestamp, root: root === undefined ? null : { version, text: root }, promote };
      await beginRotation(keyDirectory, log);
      // From here on it is decided. Hosts that see the new root have to see this timestamp, too.
      this.#served = timestamp;
      await finishRotation(repository, keyDirectory);
      await this.#reload();
      // Signed once more, by the new keys alone: hosts that came between see that something changed.
      return promote.length === 0 ? versions : this.#commit({});
    });
  }

  /** Policies that name dropped serials no more but to withdraw them: hosts that have one revert it. */
  async #withoutDropped(
    dropped: ReadonlyMap<string, readonly number[]>,
    reason = 'dropped by its publisher',
  ): Promise<Record<string, KernelPolicy>> {
    const policies: Record<string, KernelPolicy> = {};
    for (const [buildId, serials] of dropped) {
      const before = await this.#readKernelPolicy(buildId);
      if (before === undefined) continue;
      const issued = this.#options.clock.now().toISOString();
      policies[kernelPolicyPath(buildId)] = { ...withoutSerials(before, serials, reason), issued };
    }
    return policies;
  }

  refreshOnline(): Promise<boolean> {
    return this.#change(async () => {
      const { clock } = this.#options;
      const policy = await this.state.role(POLICY_ROLE);
      const aging =
        needsSigning('timestamp', this.state.timestamp.signed.expires, clock) ||
        needsSigning('snapshot', this.state.snapshot.signed.expires, clock) ||
        (policy !== undefined && needsSigning('policy', policy.signed.expires, clock));
      if (aging) await this.#commit({});
      return aging;
    });
  }

  async livepatches(): Promise<readonly { readonly buildId: string; readonly description: LivepatchTarget }[]> {
    const found: { buildId: string; description: LivepatchTarget }[] = [];
    for (const name of Object.keys(this.state.targets.signed.delegations?.roles ?? {})) {
      const buildId = kernelOfRole(name);
      if (buildId === undefined) continue;
      const livepatches = signedLivepatches(await this.state.role(name), buildId);
      for (const description of livepatches.values()) found.push({ buildId, description });
    }
    return found;
  }

  async manifest(buildId: string, serial: number): Promise<Livepatch | undefined> {
    const role = await this.state.role(kernelRole(buildId));
    const target = role?.signed.targets[manifestPath(buildId, serial)];
    const bytes = target === undefined ? undefined : await this.#readTarget(target);
    return bytes === undefined ? undefined : parseManifest(bytes, `manifest of livepatch ${serial}`);
  }

  /**
   * Every change starts from what lies on disk: another tool may have changed it, or a full disk stopped a rotation.
   */
  #change<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue(async () => {
      const { repository, keyDirectory } = this.#options;
      await finishRotation(repository, keyDirectory);
      await this.#reload();
      return work();
    });
  }

  async #reload(): Promise<void> {
    const { repository, keyDirectory } = this.#options;
    this.#signer = { ...this.#signer, keys: await loadOnlineKeys(keyDirectory) };
    this.state = await load(repository, this.#signer);
    checkOnlineKeys(this.state, this.#signer.keys);
    this.#served = undefined;
  }

  async #commit(changes: Changes): Promise<Versions> {
    const { repository, clock } = this.#options;
    const versions = await commitOnline({
      repository,
      clock,
      keys: this.#signer.keys,
      current: this.state,
      ...changes,
    });
    this.state = await load(repository, this.#signer);
    return versions;
  }

  #readKernelPolicy(buildId: string): Promise<KernelPolicy | undefined> {
    return this.#readPolicy(kernelPolicyPath(buildId), KernelPolicy);
  }

  async #readPolicy<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const target = (await this.state.role(POLICY_ROLE))?.signed.targets[path];
    if (target === undefined) return undefined;
    const parsed = schema.safeParse(JSON.parse((await this.#readTarget(target)).toString()));
    if (parsed.success) return parsed.data;
    throw new TrustError('repository-damaged', `${path} is not a policy`, { cause: parsed.error });
  }

  async #readTarget(target: TargetFile): Promise<Buffer> {
    const name = targetFile(target.path, target.hashes['sha256'] ?? '');
    const bytes = await directoryReader(this.#options.repository)(name);
    if (bytes === undefined) throw new TrustError('repository-damaged', `the repository lacks ${name}`);
    return bytes;
  }
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new TrustError('policy-invalid', 'the policy breaks a rule', { cause: parsed.error });
}
