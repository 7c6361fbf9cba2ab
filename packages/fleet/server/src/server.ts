import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Server as SecureServer } from 'node:tls';
import { type Clock, errorText, KmendError } from '@kmend/base';
import { exists, systemClock } from '@kmend/base/node';
import { PackageFormat } from '@kmend/protocol/packages';
import { type CreatedRepository, createRepository, openRepository, type Repository } from '@kmend/trust';
import type { FastifyInstance } from 'fastify';
import type { DestinationStream } from 'pino';
import { bareAddress, isLoopback } from './address.ts';
import { asDiskError, DiskProbe } from './disk.ts';
import { ServerError } from './error.ts';
import { DEFAULT_TIMES, type HostTimes } from './fleet/presence.ts';
import { type AppOptions, createApp, TLS } from './http/app.ts';
import type { AppContext } from './http/context.ts';
import { Limiter } from './http/limits.ts';
import { registerCertificate } from './http/metrics.ts';
import { PACKAGES_PREFIX } from './http/package-routes.ts';
import { localProxy, type TrustsProxy, trustedProxies } from './http/proxies.ts';
import { ReportWriter } from './http/report-writer.ts';
import { REPOSITORY_PREFIX } from './http/repository-routes.ts';
import { UnchangedReports } from './http/unchanged-reports.ts';
import { lockDirectory } from './lock.ts';
import { operatorToken } from './operator-token.ts';
import { PackageRepository } from './package-repository/package-repository.ts';
import { listLivepatches, storeLivepatch } from './store/livepatches.ts';
import { type Database, hasStore, openStore } from './store/store.ts';
import { Certificate, loadTls, type Tls, type TlsFiles } from './tls.ts';

export interface ServerOptions {
  /** Everything the server keeps: store, repository, its three online keys, uploads, packages. */
  readonly dataDir: string;
  /**
   * Makes keys and repository where the data directory has none; root and release key go here, never under `dataDir`.
   */
  readonly initialize?: { readonly offlineKeys: string };
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Files in PEM. Without them the server listens on loopback only, or `behindProxy`. */
  readonly tls?: TlsFiles;
  /** A proxy in front ends TLS. */
  readonly behindProxy?: boolean;
  /**
   * Addresses and networks of proxies, whose X-Forwarded-For is believed. Default with `behindProxy`: this machine's
   * own.
   */
  readonly trustProxy?: readonly string[];
  /**
   * Starts with an empty store although there was one: hosts enrol again. Without it a store that is gone ends the
   * start.
   */
  readonly newStore?: boolean;
  /** Serves packages to anyone; otherwise they ask for an activation key. */
  readonly openPackages?: boolean;
  /** Default: a report a day, silent after two missed ones, a host's seat is free after 90 days without a report. */
  readonly times?: Partial<HostTimes>;
  readonly clock?: Clock;
  readonly logLevel?: AppOptions['logLevel'];
  /** Where log lines (JSON) go. Default standard output. */
  readonly logStream?: DestinationStream;
  /** Milliseconds between looks at the online roles' age. Default 10 minutes. */
  readonly refreshIntervalMs?: number;
}

export interface RunningServer {
  /** Base URL of the API. */
  readonly url: string;
  /** Base URL of the signed repository. */
  readonly repositoryUrl: string;
  /** Base URL of the repositories of packages: `/apt` and `/dnf` below it. */
  readonly packagesUrl: string;
  /** File with the operator's token. */
  readonly tokenPath: string;
  /** Set if keys and repository were created just now: to be shown to the operator. */
  readonly created: CreatedRepository | undefined;
  /**
   * Reads certificate and key again (SIGHUP). Never throws: what cannot be used is logged, and the one before stays in
   * force.
   */
  reload(): Promise<void>;
  /** Answers open requests, writes what waits, releases the data directory. */
  close(): Promise<void>;
}

const REFRESH_INTERVAL_MS = 10 * 60_000;
/** Milliseconds that closing waits for answers under way. */
const CLOSE_TIMEOUT_MS = 5000;
/** Uploads never published are removed after a day. */
const UPLOAD_LIFE_MS = 86_400_000;

/**
 * Starts a patch server. Throws `tls-required`, `tls-unusable`, `data-dir-busy`, `data-dir-unusable`,
 * `address-unusable`, `store-damaged`, `store-missing`, what the disk says, and what `@kmend/trust` says of keys and
 * repository (`repository-missing` if there is none and `initialize` is absent).
 */
export async function startServer(given: ServerOptions): Promise<RunningServer> {
  const options = { ...given, host: bareAddress(given.host) };
  const clock = options.clock ?? systemClock;
  const tls = await transport(options);
  const trustsProxy = proxiesOf(options);
  const { dataDir } = options;
  await makeDataDirectory(dataDir);
  const disk = new DiskProbe(dataDir, clock);
  const fault = await disk.fault();
  if (fault !== undefined) throw fault;
  const unlock = lockDirectory(join(dataDir, 'lock'), dataDir);
  // Last opened, first closed.
  const undo: (() => Promise<void> | void)[] = [unlock];
  const tokenPath = join(dataDir, 'operator-token');
  try {
    const repositoryDirectory = join(dataDir, 'repository');
    const created = await initialize(options, repositoryDirectory, clock);
    const keyDirectory = join(dataDir, 'keys');
    const repository = await openRepository({ repository: repositoryDirectory, keyDirectory, clock });
    const storePath = join(dataDir, 'store.sqlite');
    if (options.newStore !== true) await requireStore(storePath, tokenPath, repository);
    const store = await openStore(storePath);
    undo.unshift(() => store.destroy());
    await recordLivepatches(store, repository, clock);
    const uploads = join(dataDir, 'uploads');
    await sweepUploads(uploads, clock);
    const packages = await openPackages(join(dataDir, 'packages'), clock);
    const unchanged = new UnchangedReports(store, (error) =>
      app.server.log.error({ err: error }, 'cannot store reports'),
    );
    const context: AppContext = {
      store,
      repository,
      repositoryDirectory,
      uploads,
      packages,
      openPackages: options.openPackages === true,
      operatorToken: await operatorToken(tokenPath),
      clock,
      disk,
      times: { ...DEFAULT_TIMES, ...options.times },
      unchanged,
      writer: new ReportWriter(store),
      failures: new Limiter('too many wrong secrets from this address', 30, 0.5, clock),
      reports: new Limiter('too many reports of this host', 30, 0.5, clock),
    };
    const app = await createApp(context, {
      logLevel: options.logLevel ?? 'info',
      logStream: options.logStream,
      tls,
      trustsProxy,
    });
    const certificate =
      tls === undefined || options.tls === undefined
        ? undefined
        : new Certificate(options.tls, tls, ({ cert, key }) =>
            secure(app.server).setSecureContext({ ...TLS, cert, key }),
          );
    if (certificate !== undefined) registerCertificate(app.metrics, certificate, clock);
    undo.unshift(
      () => closeServer(app.server),
      () => unchanged.flush(),
    );
    const refresh = async (): Promise<void> => {
      try {
        if (await repository.refreshOnline()) app.server.log.info('online roles signed again');
      } catch (error) {
        app.metrics.refreshFailures.inc();
        app.server.log.error({ err: error }, 'cannot sign the online roles again');
      }
      for (const format of PackageFormat.options) await packages[format].sweep();
    };
    // Before the first request: after a long stop the first host finds fresh metadata.
    await refresh();
    await listen(app.server, options);

    const refreshing = new AbortController();
    const refreshed = repeat(refresh, clock, options.refreshIntervalMs ?? REFRESH_INTERVAL_MS, refreshing.signal);
    undo.unshift(async () => {
      refreshing.abort();
      await refreshed;
    });

    const url = address(app.server, options, tls !== undefined);
    let closed: Promise<void> | undefined;
    return {
      url,
      repositoryUrl: `${url}${REPOSITORY_PREFIX.slice(0, -1)}`,
      packagesUrl: `${url}${PACKAGES_PREFIX.slice(0, -1)}`,
      tokenPath,
      created,
      async reload() {
        try {
          await certificate?.reload();
          app.server.log.info(
            { expires: certificate?.expires },
            certificate === undefined ? 'nothing to read again' : 'certificate read again',
          );
        } catch (error) {
          app.metrics.reloadFailures.inc();
          app.server.log.error({ err: error }, 'cannot reload the certificate; the previous one stays in use');
        }
      },
      close() {
        closed ??= runAll(undo);
        return closed;
      },
    };
  } catch (error) {
    await runAll(undo);
    throw error instanceof KmendError ? error : (asDiskError(error, dataDir) ?? error);
  }
}

/** The proxies that were named; with `behindProxy` at least this machine's own. */
function proxiesOf({ behindProxy, trustProxy }: ServerOptions): TrustsProxy | undefined {
  if (trustProxy !== undefined && trustProxy.length > 0) return trustedProxies(trustProxy);
  return behindProxy === true ? localProxy() : undefined;
}

/** TLS where files are given; without TLS nothing but loopback, unless a proxy in front was named. */
async function transport({ tls, host, behindProxy }: ServerOptions): Promise<Tls | undefined> {
  if (tls !== undefined) return await loadTls(tls);
  if (behindProxy === true || isLoopback(host)) return undefined;
  throw new ServerError('tls-required', `plain HTTP on ${host} would expose tokens`, {
    hint: 'give --cert and --key, or --behind-proxy if a proxy in front ends TLS, or listen on 127.0.0.1',
  });
}

/**
 * The data directory: for its owner alone where it is made here; an existing one is the operator's, and stays as it is.
 */
async function makeDataDirectory(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw asDiskError(error, dataDir) ?? unusable(dataDir, error);
  }
}

function unusable(dataDir: string, cause: unknown): ServerError {
  return new ServerError('data-dir-unusable', `cannot create ${dataDir}: ${errorText(cause)}`, {
    cause,
    hint: 'give a folder that this user can write with --data-dir',
  });
}

async function initialize(
  { initialize: wanted, dataDir }: ServerOptions,
  repository: string,
  clock: Clock,
): Promise<CreatedRepository | undefined> {
  const exists = await stat(join(repository, 'metadata')).catch(() => undefined);
  if (wanted === undefined || exists !== undefined) return undefined;
  return createRepository({
    offlineKeys: wanted.offlineKeys,
    onlineKeys: join(dataDir, 'keys'),
    repository,
    clock,
  });
}

/**
 * A server that ran here had a store. Where it is gone (a restore that left it out, a wrong mount), starting with an
 * empty one would turn every host away for good, without any message.
 */
async function requireStore(path: string, tokenPath: string, repository: Repository): Promise<void> {
  if (await hasStore(path)) return;
  const ran = (await exists(tokenPath)) || (await repository.livepatches()).length > 0;
  if (!ran) return;
  throw new ServerError(
    'store-missing',
    `${path} is missing or empty, and a server has run here: it held hosts and activation keys`,
    {
      hint: 'restore store.sqlite from a backup; without one start with --new-store, and enrol every host again',
    },
  );
}

/** The list of livepatches follows the signed repository, also after a crash between the two. */
async function recordLivepatches(store: Database, repository: Repository, clock: Clock): Promise<void> {
  const known = new Set((await listLivepatches(store)).map(({ buildId, serial }) => `${buildId} ${serial}`));
  for (const { buildId, description } of await repository.livepatches()) {
    if (known.has(`${buildId} ${description.serial}`)) continue;
    const livepatch = await repository.manifest(buildId, description.serial);
    if (livepatch !== undefined) await storeLivepatch(store, livepatch, description, clock);
  }
}

async function sweepUploads(directory: string, clock: Clock): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const { mtimeMs } = await stat(path);
    if (name.endsWith('.tmp') || clock.now().getTime() - mtimeMs > UPLOAD_LIFE_MS) await rm(path, { force: true });
  }
}

async function openPackages(directory: string, clock: Clock): Promise<AppContext['packages']> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return {
    apt: await PackageRepository.open('apt', join(directory, 'apt'), clock),
    dnf: await PackageRepository.open('dnf', join(directory, 'dnf'), clock),
  };
}

/** The socket server below, which speaks TLS if there is a certificate; fastify's type does not say so. */
function secure(server: FastifyInstance): SecureServer {
  if (server.server instanceof SecureServer) return server.server;
  throw new TypeError('the server was made without TLS');
}

async function listen(server: FastifyInstance, { host, port }: ServerOptions): Promise<void> {
  try {
    await server.listen({ host, port });
  } catch (cause) {
    throw new ServerError('address-unusable', `cannot listen on ${host} port ${port}: ${errorText(cause)}`, {
      cause,
      hint: 'choose another port or address, or stop what listens there',
    });
  }
}

/** Waits for answers under way; connections that are still busy after a while are cut. */
async function closeServer(server: FastifyInstance): Promise<void> {
  const cut = setTimeout(() => server.server.closeAllConnections(), CLOSE_TIMEOUT_MS);
  await server.close().finally(() => clearTimeout(cut));
}

function address(server: FastifyInstance, { host }: ServerOptions, secure: boolean): string {
  const { port } = server.server.address() as AddressInfo;
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  return `${secure ? 'https' : 'http'}://${name}:${port}`;
}

async function repeat(work: () => Promise<void>, clock: Clock, intervalMs: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(intervalMs, signal).catch(() => undefined);
    if (!signal.aborted) await work();
  }
}

async function runAll(steps: readonly (() => Promise<void> | void)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
