import type { FleetPolicy, KernelPolicy, Livepatch, LivepatchTarget } from '@kmend/protocol';
import type { TrustErrorCode } from '../error.ts';

/** Why a mirror of the repository was passed over. */
export interface MirrorFailure {
  readonly url: string;
  readonly code: TrustErrorCode;
  readonly message: string;
}

/** Outcome of one check of the repository. */
export interface CheckOutcome {
  /**
   * False where the conditional GET of timestamp.json said that nothing is new (and the cached metadata has not
   * expired).
   */
  readonly changed: boolean;
  /** Version of the timestamp role now held. */
  readonly version: number;
  /** When the timestamp role expires: after that, nothing in the cache may be called fresh. */
  readonly expires: Date;
  /**
   * The earliest end of root, timestamp, snapshot and targets: until then an unchanged timestamp.json needs no other
   * look.
   */
  readonly freshUntil: Date;
  /**
   * What the timestamp says of its own end, where that is beyond what any may hold: `expires` is the end that counts.
   */
  readonly overlong?: Date;
  /**
   * Where timestamp.json came from, with the ETag that asks whether it is still the same; absent where there was none.
   */
  readonly validator?: { readonly url: string; readonly etag: string };
  /** Mirrors that were tried before the one that answered; absent where the first one did. */
  readonly passedOver?: readonly MirrorFailure[];
}

/** A livepatch whose bytes were compared with the signed metadata just now. */
export interface VerifiedLivepatch {
  readonly target: LivepatchTarget;
  readonly manifest: Livepatch;
  /** The module, in the client's own cache. */
  readonly modulePath: string;
  /** SHA-256 of the module, lower-case hex, as signed and as found. */
  readonly sha256: string;
  /** Length of the module in bytes. */
  readonly size: number;
}

/** The client's side of the signed repository: everything the agent learns from the network goes through here. */
export interface RepositoryClient {
  /**
   * One conditional GET of timestamp.json; the whole TUF workflow (specification 1.0.34, section 5) where it changed.
   */
  check(signal: AbortSignal): Promise<CheckOutcome>;
  /** The signed fleet policy; `undefined` where the repository has none yet. */
  fleetPolicy(signal: AbortSignal): Promise<FleetPolicy | undefined>;
  /**
   * The signed policy of one kernel, as far as the floor lets it (`aboveFloor`); `undefined`: this kernel is not
   * covered.
   */
  kernelPolicy(buildId: string, signal: AbortSignal): Promise<KernelPolicy | undefined>;
  /** Downloads module and manifest unless cached, verifies both, cleans up after itself on any failure. */
  fetchLivepatch(buildId: string, serial: number, signal: AbortSignal): Promise<VerifiedLivepatch>;
  /**
   * Verifies the cached files of a livepatch again, against the cached signed metadata, without any network: for the
   * moment before a load, and for boot. Signatures are checked; expiry is not (a host may boot without a network).
   * Throws where anything is missing or differs.
   */
  verifyCached(buildId: string, serial: number): Promise<VerifiedLivepatch>;
}
