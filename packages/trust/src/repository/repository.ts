import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import {
  FLEET_POLICY_PATH,
  FleetPolicy,
  KernelPolicy,
  kernelPolicyPath,
  kernelRole,
  type Livepatch,
  type LivepatchTarget,
  manifestPath,
  POLICY_ROLE,
  type PublishRequest,
  type RenewRequest,
} from '@kmend/protocol';
import type { TargetFile } from '@tufjs/models';
import type { z } from 'zod';
import { TrustError } from '../error.ts';
import type { OnlineKeys } from '../keys/store.ts';
import { isAging } from '../metadata/signing.ts';
import { checkManifest, checkProof, verifyPublication } from './accept.ts';
import { parseManifest } from './artifact.ts';
import { kernelOfRole, settledPolicy, signedLivepatches } from './kernel-role.ts';
import { metadataFile, targetFile } from './layout.ts';
import { type Changes, checkOnlineKeys, commitOnline, type Versions } from './online.ts';
import { parseProof } from './proof.ts';
import { createQueue } from './queue.ts';
import { verifyRenewal } from './renew.ts';
import { directoryReader, loadState, type RepositoryState } from './state.ts';
import { bringTarget } from './target.ts';

export interface RepositoryOptions {
  /** Directory of the static files. */
  readonly repository: string;
  readonly keys: OnlineKeys;
  readonly clock: Clock;
}

export interface Published extends Versions {
  readonly livepatch: Livepatch;
  readonly description: LivepatchTarget;
}

export interface RoleAge {
  readonly role: string;
  readonly version: number;
  readonly expires: Date;
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
  /** Accepts offline roles signed again with a later expiry (`signRenewal`). */
  acceptRenewal(request: RenewRequest): Promise<Versions>;
  /** Signs snapshot, timestamp and policy again where less than half of a life is left; says whether it did. */
  refreshOnline(): Promise<boolean>;
  /** timestamp.json as it is served: what every host asks for at every check. */
  readonly timestampText: string;
  /** Every livepatch the repository holds. */
  livepatches(): Promise<readonly { readonly buildId: string; readonly description: LivepatchTarget }[]>;
  /** Manifest of a published livepatch, from the repository's files. */
  manifest(buildId: string, serial: number): Promise<Livepatch | undefined>;
}

/** Opens and verifies a repository. Throws `repository-missing`, `repository-damaged`, `key-wrong`. */
export async function openRepository(options: RepositoryOptions): Promise<Repository> {
  if (!(await stat(join(options.repository, 'metadata')).catch(() => undefined))) {
    throw new TrustError('repository-missing', `${options.repository} holds no repository`, {
      hint: 'make one with "kmend repo init"',
    });
  }
  const state = await load(options.repository);
  checkOnlineKeys(state, options.keys);
  return new OpenRepository(options, state);
}

function load(repository: string): Promise<RepositoryState> {
  return loadState(directoryReader(repository), 'repository-damaged');
}

class OpenRepository implements Repository {
  state: RepositoryState;
  readonly #options: RepositoryOptions;
  readonly #queue = createQueue();

  constructor(options: RepositoryOptions, state: RepositoryState) {
    this.#options = options;
    this.state = state;
  }

  get timestampText(): string {
    return this.state.timestampText;
  }

  async ages(): Promise<readonly RoleAge[]> {
    const { root, timestamp, snapshot, targets } = this.state;
    // Lost or damaged since: `missingFiles` says so, and the others' ages are wanted all the same.
    const policy = await this.state.role(POLICY_ROLE).catch(() => undefined);
    const age = (role: string, { version, expires }: { version: number; expires: string }): RoleAge => ({
      role,
      version,
      expires: new Date(expires),
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
      const policy = settledPolicy(before, request.buildId, request.channel, request.serial, this.#options.clock);
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
      for (const serial of serialsOf(policy)) {
        if (!published.has(serial)) {
          throw new TrustError('policy-invalid', `kernel ${buildId} has no livepatch with serial ${serial}`);
        }
      }
      return this.#commit({ policies: { [kernelPolicyPath(buildId)]: policy } });
    });
  }

  acceptRenewal(request: RenewRequest): Promise<Versions> {
    return this.#change(async () => {
      await verifyRenewal(this.state, request, this.#options.clock);
      const { root, ...metadata } = request.metadata;
      if (root !== undefined) {
        // It names the same keys, so hosts may meet it before or after the rest.
        const name = metadataFile('root', this.state.root.signed.version + 1);
        await writeFileAtomic(join(this.#options.repository, name), root);
      }
      return this.#commit({ metadata });
    });
  }

  refreshOnline(): Promise<boolean> {
    return this.#change(async () => {
      const { clock } = this.#options;
      const policy = await this.state.role(POLICY_ROLE);
      const aging =
        isAging('timestamp', this.state.timestamp.signed.expires, clock) ||
        isAging('snapshot', this.state.snapshot.signed.expires, clock) ||
        (policy !== undefined && isAging('policy', policy.signed.expires, clock));
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

  /** Every change starts from what lies on disk: another tool may have changed it. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue(async () => {
      this.state = await load(this.#options.repository);
      return work();
    });
  }

  async #commit(changes: Changes): Promise<Versions> {
    const versions = await commitOnline({ ...this.#options, current: this.state, ...changes });
    this.state = await load(this.#options.repository);
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

function serialsOf(policy: KernelPolicy): number[] {
  const channels = Object.values(policy.channels).flatMap((entry) => [entry.settled, entry.rollout?.serial ?? null]);
  return [...channels, ...policy.withdrawn.map((item) => item.serial)].filter((serial) => serial !== null);
}
