import { readFile, rm } from 'node:fs/promises';
import type { Clock } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { aboveFloor, FLEET_POLICY_PATH, FleetPolicy, KernelPolicy, kernelPolicyPath } from '@kmend/protocol';
import type { z } from 'zod';
import { TrustError } from '../error.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { CLOCK_TOLERANCE_MS } from '../metadata/signing.ts';
import { type CheckRecord, MetadataCache } from './cache.ts';
import { cachedKernelTargets, parseAnchor, rootFile, type TrustedRoot } from './chain.ts';
import { downloadTarget } from './download.ts';
import { readAll } from './fetcher.ts';
import { readFloor } from './floor.ts';
import {
  countsUntil,
  type Dated,
  type DatedState,
  isRootDue,
  refuseOverlong,
  type Seen,
  seeState,
  stateCountsUntil,
} from './freshness.ts';
import { livepatchFiles, localPath, pruneLivepatches, sha256Of, verifyLivepatch } from './livepatch.ts';
import { Mirrors } from './mirrors.ts';
import { statusFailure } from './status.ts';
import { locationOf, ROOT_MAX_LENGTH, type Session, TIMESTAMP_MAX_LENGTH, transaction } from './transaction.ts';
import { defaultLimits, type Fetch, get, type TransferEdges, type TransferLimits } from './transfer.ts';
import type { CheckOutcome, RepositoryClient, VerifiedLivepatch } from './types.ts';

export interface RepositoryClientOptions {
  /** The client's own directory; made with mode 0700 where it is missing. */
  readonly directory: string;
  /** The trust anchor: a `root.json` that came with the host's configuration, as bytes or as the path of a file. */
  readonly root: Uint8Array | string;
  /** Base URL of the repository: what holds `metadata/` and `targets/`. Of several mirrors, the best one first. */
  readonly url: string | readonly string[];
  readonly fetch?: Fetch;
  /** Times transfers and idle checks. tuf-js itself compares expiry with the system's clock. */
  readonly clock?: Clock;
  readonly limits?: Partial<TransferLimits>;
  /**
   * Milliseconds after which a check asks for the next root although timestamp.json is unchanged. Default 12 hours; 0:
   * each time.
   */
  readonly rootIntervalMs?: number;
}

/**
 * A root that changes alone is to reach hosts within a day: they look at least every 6 hours, the loader after the
 * fetcher.
 */
const ROOT_INTERVAL_MS = 12 * 3_600_000;

/** Bytes of a policy file. */
const MAX_POLICY = 4_000_000;

/** The generation in force, verified by this process. */
interface Held {
  readonly generation: string | undefined;
  readonly check: CheckRecord | undefined;
  readonly timestamp: Buffer;
  readonly state: DatedState;
}

/**
 * Opens the client's side of a repository. Reads the anchor only (`root-unusable`); the network is first used by
 * `check`. Several processes may share a directory.
 */
export async function openRepositoryClient(options: RepositoryClientOptions): Promise<RepositoryClient> {
  return new Client(options, await readAnchor(options.root));
}

async function readAnchor(root: Uint8Array | string): Promise<TrustedRoot> {
  if (typeof root !== 'string') return parseAnchor(Buffer.from(root), 'the given root');
  try {
    return parseAnchor(await readFile(root), root);
  } catch (cause) {
    if (cause instanceof TrustError) throw cause;
    throw new TrustError('root-unusable', `cannot read the trusted root ${root}: ${(cause as Error).message}`, {
      cause,
      hint: 'take root.json from the patch server’s operator',
    });
  }
}

class Client implements RepositoryClient {
  readonly #cache: MetadataCache;
  readonly #anchor: TrustedRoot;
  readonly #mirrors: Mirrors;
  readonly #edges: TransferEdges;
  readonly #rootIntervalMs: number;
  #held: Held | undefined;
  /** Until the first check, the cache knows better which mirror worked last. */
  #checked = false;
  /** Policies and floors of the held generation, by target path and name; `undefined`: signed metadata names none. */
  readonly #policies = new Map<string, unknown>();

  constructor(options: RepositoryClientOptions, anchor: TrustedRoot) {
    this.#cache = new MetadataCache(options.directory);
    this.#anchor = anchor;
    this.#mirrors = new Mirrors(options.url);
    this.#edges = {
      fetch: options.fetch ?? globalThis.fetch,
      clock: options.clock ?? systemClock,
      limits: { ...defaultLimits, ...options.limits },
    };
    this.#rootIntervalMs = options.rootIntervalMs ?? ROOT_INTERVAL_MS;
  }

  async check(signal: AbortSignal): Promise<CheckOutcome> {
    if (!this.#checked) {
      this.#checked = true;
      const held = await this.#current(signal);
      if (held?.check !== undefined) this.#mirrors.prefer(held.check.url);
    }
    const { result, passedOver } = await this.#mirrors.attempt(signal, (url) => this.#checkAt(url, signal));
    const { check } = this.#held ?? {};
    const validator =
      check?.etag === undefined ? {} : { validator: { url: timestampUrl(check.url), etag: check.etag } };
    return { ...result, ...validator, ...(passedOver.length === 0 ? {} : { passedOver }) };
  }

  async #checkAt(url: string, signal: AbortSignal): Promise<CheckOutcome> {
    const held = await this.#current(signal);
    if (held === undefined || !this.#isFresh(held)) return this.#refresh(url, signal, held, undefined);
    const etag = held.check?.url === url ? held.check.etag : undefined;
    const headers = etag === undefined ? {} : { 'if-none-match': etag };
    const address = timestampUrl(url);
    const answer = await get(this.#edges, address, TIMESTAMP_MAX_LENGTH, signal, headers);
    if (answer.status === 304) {
      await answer.discard();
      return this.#unchanged(url, held, signal);
    }
    if (answer.status !== 200) {
      await answer.discard();
      throw statusFailure(address, answer.status);
    }
    const bytes = await readAll(answer);
    if (!bytes.equals(held.timestamp)) return this.#refresh(url, signal, held, { bytes, etag: answer.etag });
    // The same state from another mirror, or with another ETag: the next check asks with that one.
    this.#held = { ...held, check: checkRecord(url, answer.etag, held.check?.seen) };
    return this.#unchanged(url, this.#held, signal);
  }

  /** The timestamp is still the same; a newer root may be there all the same. */
  async #unchanged(url: string, held: Held, signal: AbortSignal): Promise<CheckOutcome> {
    const { clock } = this.#edges;
    if (isRootDue(held.check?.seen, this.#rootIntervalMs, clock)) {
      const next = `${url}/metadata/${rootFile(held.state.root.version + 1)}`;
      const answer = await get(this.#edges, next, ROOT_MAX_LENGTH, signal);
      await answer.discard();
      if (answer.status === 200) return this.#refresh(url, signal, held, undefined);
    }
    return outcomeOf(held, false);
  }

  #isFresh({ state, check }: Held): boolean {
    return stateCountsUntil(state, check?.seen) > this.#edges.clock.now();
  }

  async fleetPolicy(signal: AbortSignal): Promise<FleetPolicy | undefined> {
    return this.#policy(FLEET_POLICY_PATH, FleetPolicy, signal);
  }

  async kernelPolicy(buildId: string, signal: AbortSignal): Promise<KernelPolicy | undefined> {
    const path = kernelPolicyPath(buildId);
    const policy = await this.#policy(path, KernelPolicy, signal);
    if (policy !== undefined && policy.buildId !== buildId) {
      throw new TrustError('repository-mismatch', `${path} is signed but speaks of kernel ${policy.buildId}`);
    }
    const floor = await this.#known(`floor of ${buildId}`, signal, (session) => readFloor(session, buildId));
    return floor === undefined ? policy : aboveFloor(buildId, policy, floor);
  }

  async fetchLivepatch(buildId: string, serial: number, signal: AbortSignal): Promise<VerifiedLivepatch> {
    return this.#transact(signal, async (session) => {
      const files = await livepatchFiles(buildId, serial, (path) => session.updater.getTargetInfo(path));
      for (const target of [files.manifest, files.module])
        await downloadTarget(session, target, localPath(this.#cache.targets, target));
      try {
        const result = await verifyLivepatch(buildId, serial, files, this.#cache.targets);
        await pruneLivepatches(this.#cache.targets, files);
        return { result };
      } catch (error) {
        for (const target of Object.values(files)) await rm(localPath(this.#cache.targets, target), { force: true });
        throw error;
      }
    });
  }

  async verifyCached(buildId: string, serial: number): Promise<VerifiedLivepatch> {
    const generation = await this.#cache.current();
    if (generation === undefined) {
      throw new TrustError('not-cached', `${this.#cache.directory} holds no metadata yet`, {
        hint: 'let the agent check the repository once',
      });
    }
    const read = (file: string) => this.#cache.read(generation, file);
    const kernel = await cachedKernelTargets(this.#anchor, read, buildId);
    const files = await livepatchFiles(buildId, serial, async (path) => kernel.find(path));
    return verifyLivepatch(buildId, serial, files, this.#cache.targets);
  }

  /**
   * The generation in force, once its signatures and expiry were checked by this process; `undefined`: needs a refresh.
   */
  async #current(signal: AbortSignal): Promise<Held | undefined> {
    const generation = await this.#cache.current();
    if (generation === undefined || this.#held?.generation === generation) return this.#held;
    try {
      await this.#transactAt(this.#mirrors.first, 'cache', signal, async ({ updater, fetcher, read }) => {
        fetcher.offline = true;
        await updater.refresh();
        return { result: undefined, held: await describe(read) };
      });
    } catch {
      signal.throwIfAborted();
      // Incomplete, damaged or expired: the refresh that follows says what is wrong, if anything still is.
      this.#hold(undefined);
    }
    return this.#held;
  }

  async #refresh(
    url: string,
    signal: AbortSignal,
    before: Held | undefined,
    primed: { readonly bytes: Buffer; readonly etag: string | undefined } | undefined,
  ): Promise<CheckOutcome> {
    const { held } = await this.#transactAt(url, 'network', signal, async (session) => {
      // Another process may have gone ahead meanwhile; then what was downloaded before is old news.
      if (primed !== undefined && session.generation === before?.generation) {
        session.fetcher.prime(timestampUrl(url), primed.bytes, primed.etag);
      }
      await session.updater.refresh();
      const held = await describe(session.read);
      const known = session.generation === undefined ? undefined : await this.#cache.readCheck(session.generation);
      const seen = seeState(known?.seen, held.state, this.#edges.clock);
      refuseOverlong(held.state, seen, this.#edges.clock);
      // An ETag counts only for the very bytes that are held now.
      const answer = session.fetcher.timestamp;
      const etag = answer?.bytes.equals(held.timestamp) === true ? answer.etag : undefined;
      return { result: undefined, held, check: checkRecord(url, etag, seen) };
    });
    if (held === undefined) throw new TypeError('a refresh always says what it holds');
    return outcomeOf(held, held.state.timestamp.version !== before?.state.timestamp.version);
  }

  /** A transaction that begins with what is cached, and takes what is not from some mirror. */
  async #transact<T>(signal: AbortSignal, work: (session: Session) => Promise<Done<T>>): Promise<T> {
    const { result } = await this.#mirrors.attempt(signal, (url) => this.#transactAt(url, 'cache', signal, work));
    return result.result;
  }

  /** A transaction, after which this object knows what generation is in force. */
  async #transactAt<T>(
    url: string,
    from: 'cache' | 'network',
    signal: AbortSignal,
    work: (session: Session) => Promise<Done<T>>,
  ): Promise<{ readonly result: T; readonly held: Held | undefined }> {
    const environment = { cache: this.#cache, anchor: this.#anchor, location: locationOf(url), edges: this.#edges };
    const { result, generation } = await transaction(environment, { from, signal }, async (session) => {
      const done = await work(session);
      const held = done.held ?? (await describe(session.read));
      return { result: { value: done.result, held }, ...(done.check === undefined ? {} : { check: done.check }) };
    });
    const check = generation === undefined ? undefined : await this.#cache.readCheck(generation);
    this.#hold({ ...result.held, generation, check });
    return { result: result.value, held: this.#held };
  }

  #hold(held: Held | undefined): void {
    if (held === undefined || this.#held?.timestamp.equals(held.timestamp) !== true) this.#policies.clear();
    this.#held = held;
  }

  #policy<T>(path: string, schema: z.ZodType<T>, signal: AbortSignal): Promise<T | undefined> {
    return this.#known<T | undefined>(path, signal, async (session) => {
      const target = await session.updater.getTargetInfo(path);
      if (target === undefined) return undefined;
      sha256Of(target, MAX_POLICY);
      await downloadTarget(session, target, localPath(this.#cache.targets, target));
      const parsed = schema.safeParse(JSON.parse(await readFile(localPath(this.#cache.targets, target), 'utf8')));
      if (parsed.success) return parsed.data;
      throw new TrustError('repository-garbage', `${path} is signed but not in the form this version of kmend knows`, {
        cause: parsed.error,
        hint: 'upgrade kmend-agent',
      });
    });
  }

  /** What signed metadata says, read once for each state that is held. */
  async #known<T>(what: string, signal: AbortSignal, read: (session: Session) => Promise<T>): Promise<T> {
    const held = await this.#current(signal);
    if (held !== undefined && this.#isFresh(held) && this.#policies.has(what)) return this.#policies.get(what) as T;
    const result = await this.#transact<T>(signal, async (session) => ({ result: await read(session) }));
    this.#policies.set(what, result);
    return result;
  }
}

type State = Omit<Held, 'generation' | 'check'>;

/** What work in a transaction ends with. */
interface Done<T> {
  readonly result: T;
  readonly held?: State;
  readonly check?: CheckRecord;
}

function timestampUrl(url: string): string {
  return `${url}/metadata/timestamp.json`;
}

function checkRecord(url: string, etag: string | undefined, seen: Seen | undefined): CheckRecord {
  return { url, ...(etag === undefined ? {} : { etag }), ...(seen === undefined ? {} : { seen }) };
}

function outcomeOf({ state, check }: Held, changed: boolean): CheckOutcome {
  const expires = countsUntil('timestamp', state.timestamp, check?.seen);
  const { version, expires: says } = state.timestamp;
  const overlong = says.getTime() - expires.getTime() > CLOCK_TOLERANCE_MS ? { overlong: says } : {};
  return { changed, version, expires, freshUntil: stateCountsUntil(state, check?.seen), ...overlong };
}

/** What the metadata that tuf-js ended with says of itself. */
async function describe(read: Session['read']): Promise<State> {
  const bytes = async (role: keyof DatedState): Promise<Buffer> => (await read(`${role}.json`)) ?? Buffer.alloc(0);
  const dated = async (role: keyof DatedState): Promise<Dated> => {
    const { version, expires } = parseMetadata(role, await bytes(role), `${role}.json`, 'cache-mismatch').signed;
    return { version, expires: new Date(expires) };
  };
  return {
    timestamp: await bytes('timestamp'),
    state: {
      timestamp: await dated('timestamp'),
      root: await dated('root'),
      snapshot: await dated('snapshot'),
      targets: await dated('targets'),
    },
  };
}
