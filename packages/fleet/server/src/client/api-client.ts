import { openAsBlob } from 'node:fs';
import { type Clock, type Progress, silentProgress } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import {
  ActivationKey,
  type ChangeFleetPolicy,
  type ChangeKernelPolicy,
  type Channel,
  type CreateKeyRequest,
  CreateKeyResponse,
  FleetPolicy,
  HostDetail,
  HostPage,
  type HostQuery,
  ImportReportResponse,
  KernelPolicy,
  KeyList,
  LivepatchList,
  NextKeysResponse,
  type OnlineRole,
  type PublishedLivepatch,
  PublishResponse,
  type ReportFile,
  RotateResponse,
  UploadResponse,
} from '@kmend/protocol';
import { type PackageFormat, PackageSeats, PublishPackagesResponse } from '@kmend/protocol/packages';
import {
  type Confirm,
  loadReleaseKey,
  type Operator,
  openOperator,
  type ProofDemand,
  type Rotation,
  type SignedPublication,
  signPublication,
} from '@kmend/trust';
import { z } from 'zod';
import { REPOSITORY_PREFIX } from '../http/repository-routes.ts';
import { LONGEST_REQUEST_MS } from '../http/request-time.ts';
import { type ApiFetch, type ApiRequest, exchange } from './http.ts';
import type { TarStream } from './pack-folder.ts';

export interface ApiClientOptions {
  /** Base URL of the server. */
  readonly url: string;
  /** The operator's token (`readOperatorToken`). */
  readonly token: string;
  readonly signal: AbortSignal;
  readonly fetch?: ApiFetch;
  readonly clock?: Clock;
  /** Milliseconds for an exchange without a file. Default 30 s. */
  readonly timeoutMs?: number;
}

export interface PublishOptions extends ProofDemand {
  /** What `kmend build --out` wrote. */
  readonly livepatch: string;
  readonly channel: Channel;
  /** The operator's own directory: release key, pinned root, record. */
  readonly keys: string;
  /** Asked before anything is signed. */
  readonly confirm?: Confirm;
  readonly progress?: Progress;
}

export interface PublishOutcome extends PublishResponse {
  readonly publication: SignedPublication;
}

/** The operator's side of the API. Each call may throw the codes of `exchange` and those the server answers with. */
export interface ApiClient {
  readonly url: string;
  readonly repositoryUrl: string;
  createKey(request: CreateKeyRequest): Promise<CreateKeyResponse>;
  listKeys(): Promise<ActivationKey[]>;
  revokeKey(id: string): Promise<ActivationKey>;
  listHosts(query?: HostQuery): Promise<HostPage>;
  showHost(id: string): Promise<HostDetail>;
  removeHost(id: string): Promise<void>;
  /** Resets the count of a host's reports. */
  resetHost(id: string): Promise<void>;
  /** Imports a report file that a person carried here. */
  importReport(file: ReportFile): Promise<ImportReportResponse>;
  listLivepatches(): Promise<PublishedLivepatch[]>;
  fleetPolicy(): Promise<FleetPolicy>;
  setFleetPolicy(change: ChangeFleetPolicy): Promise<FleetPolicy>;
  kernelPolicy(buildId: string): Promise<KernelPolicy>;
  setKernelPolicy(buildId: string, change: ChangeKernelPolicy): Promise<KernelPolicy>;
  /**
   * The repository as its operator sees it before signing, verified from what lies in `directory`; `rootDirectory`:
   * where the root key is.
   */
  operator(directory: string, rootDirectory?: string): Promise<Operator>;
  /** Has the server make keys that are to replace its own: they count once a rotation names them. */
  prepareKeys(roles: readonly OnlineRole[]): Promise<NextKeysResponse['keys']>;
  /** Signs offline roles again, on this machine, has the server take them, and notes that. */
  rotate(operator: Operator, rotation: Rotation): Promise<RotateResponse>;
  /** Signs on this machine, uploads, publishes. The release key never leaves this process. */
  publish(options: PublishOptions): Promise<PublishOutcome>;
  /** Puts a whole repository of packages (`packFolder`) in place of the one before. */
  publishPackages(format: PackageFormat, repository: TarStream, progress?: Progress): Promise<PublishPackagesResponse>;
  /** The machines that fetched packages of late, by activation key. */
  packageSeats(): Promise<PackageSeats['keys']>;
}

/** Milliseconds for an exchange; one that carries a file may take longer. */
const TIMEOUT_MS = 30_000;
const UPLOAD_TIMEOUT_MS = 600_000;

export function createApiClient(options: ApiClientOptions): ApiClient {
  const url = options.url.replace(/\/+$/, '');
  const repositoryUrl = `${url}${REPOSITORY_PREFIX.slice(0, -1)}`;
  const fetch = options.fetch ?? globalThis.fetch;
  const { token, signal, clock = systemClock } = options;
  const call = <T>(
    method: ApiRequest['method'],
    path: string,
    schema: z.ZodType<T>,
    body: Partial<Pick<ApiRequest, 'json' | 'bytes' | 'timeoutMs'>> = {},
  ): Promise<T> =>
    exchange(
      fetch,
      { method, url: `${url}${path}`, token, signal, timeoutMs: options.timeoutMs ?? TIMEOUT_MS, ...body },
      schema,
    );
  const operator = (directory: string, rootDirectory = directory): Promise<Operator> =>
    openOperator({ directory, rootDirectory, url: repositoryUrl, signal, clock });
  const kernelPath = (buildId: string): string => `/v1/policy/kernels/${encodeURIComponent(buildId)}`;
  const hostPath = (id: string): string => `/v1/hosts/${encodeURIComponent(id)}`;

  return {
    url,
    repositoryUrl,
    createKey: (request) => call('POST', '/v1/keys', CreateKeyResponse, { json: request }),
    listKeys: async () => (await call('GET', '/v1/keys', KeyList)).keys,
    revokeKey: (id) => call('POST', `/v1/keys/${encodeURIComponent(id)}/revoke`, ActivationKey),
    listHosts: (query = {}) => call('GET', `/v1/hosts?${search(query)}`, HostPage),
    showHost: (id) => call('GET', hostPath(id), HostDetail),
    removeHost: (id) => call('DELETE', hostPath(id), z.undefined()),
    resetHost: (id) => call('POST', `${hostPath(id)}/reset`, z.undefined()),
    importReport: (file) => call('POST', '/v1/hosts/reports', ImportReportResponse, { json: file }),
    listLivepatches: async () => (await call('GET', '/v1/livepatches', LivepatchList)).livepatches,
    fleetPolicy: () => call('GET', '/v1/policy/fleet', FleetPolicy),
    setFleetPolicy: (change) => call('PUT', '/v1/policy/fleet', FleetPolicy, { json: change }),
    kernelPolicy: (buildId) => call('GET', kernelPath(buildId), KernelPolicy),
    setKernelPolicy: (buildId, change) => call('PUT', kernelPath(buildId), KernelPolicy, { json: change }),
    operator,
    prepareKeys: async (roles) => (await call('POST', '/v1/signing-keys', NextKeysResponse, { json: { roles } })).keys,
    async rotate(own, rotation) {
      // Fails on a record that cannot be written before anything is sent.
      await own.save();
      const json = await rotation.sign();
      const response = await call('POST', '/v1/rotate', RotateResponse, { json, timeoutMs: UPLOAD_TIMEOUT_MS });
      await own.save({ metadata: json.metadata });
      return response;
    },
    async publish({ progress = silentProgress, keys, ...options }) {
      progress.step('read the repository’s metadata');
      // Fails on an unusable key before the first request.
      await loadReleaseKey(keys);
      const own = await operator(keys);
      progress.step('sign with the release key');
      const { state } = own;
      const publication = await signPublication({ ...options, state, releaseKey: await own.releaseKey(), clock });
      const total = publication.files.reduce((sum, file) => sum + file.size, 0);
      let done = 0;
      await own.save();
      progress.step('upload');
      for (const file of publication.files) {
        const bytes = await openAsBlob(file.path);
        await call('PUT', `/v1/uploads/${file.sha256}`, UploadResponse, { bytes, timeoutMs: UPLOAD_TIMEOUT_MS });
        done += file.size;
        progress.advance(done, total, 'bytes');
      }
      progress.step('publish');
      const response = await call('POST', '/v1/publish', PublishResponse, { json: publication.request });
      const { buildId, serial } = publication.request;
      const module = publication.artifact.module.sha256;
      await own.save({ metadata: publication.request.metadata, livepatch: { buildId, serial, module } });
      return { ...response, publication };
    },
    publishPackages(format, { stream, size }, progress = silentProgress) {
      progress.step('upload');
      const bytes = stream.pipeThrough(counted((done) => progress.advance(Math.min(done, size), size, 'bytes')));
      // As long as the server takes one.
      return call('PUT', `/v1/packages/${format}`, PublishPackagesResponse, { bytes, timeoutMs: LONGEST_REQUEST_MS });
    },
    packageSeats: async () => (await call('GET', '/v1/packages/seats', PackageSeats)).keys,
  };
}

/** Passes bytes on and counts them. */
function counted(tell: (done: number) => void): TransformStream<Uint8Array, Uint8Array> {
  let done = 0;
  return new TransformStream({
    transform(chunk, controller) {
      done += chunk.length;
      tell(done);
      controller.enqueue(chunk);
    },
  });
}

function search(query: HostQuery): URLSearchParams {
  const entries = Object.entries(query).filter(([, value]) => value !== undefined);
  return new URLSearchParams(entries.map(([name, value]): [string, string] => [name, String(value)]));
}
