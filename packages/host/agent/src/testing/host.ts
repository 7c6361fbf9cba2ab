import { mkdir } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { Config } from '../config/schema.ts';
import { type StatusView, statusOf } from '../decide/status.ts';
import { paths } from '../edges/paths.ts';
import { type Fetcher, openFetcher } from '../fetcher/context.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { advance } from '../loader/advance.ts';
import { type Considered, consider } from '../loader/consider.ts';
import { type Loader, openLoader } from '../loader/context.ts';
import type { Level } from '../log.ts';
import { type Contact, noContact } from '../seen/contact.ts';
import { TestKernel } from './kernel.ts';
import { TestRepository } from './repository.ts';

export interface TestHost {
  readonly kernel: TestKernel;
  readonly repository: TestRepository;
  readonly logged: string[];
  loader: Loader;
  /** A restarted agent on the same disk. */
  restart(): Promise<Loader>;
  /** Advances until nothing moves any more or `ms` have passed; returns the state. */
  advance(ms?: number): Promise<string>;
}

const HOST_ID = '2d0a0f5e-8c1d-4a53-9a43-1a9fd7b2c5aa';

/** A host with kernel and repository of its own, gone with the test. */
export async function makeHost(context: TestContext, config: Partial<Config> = {}): Promise<TestHost> {
  const kernel = await TestKernel.make();
  context.after(() => kernel.remove());
  await mkdir(kernel.path(paths.repository), { recursive: true });
  // The agent reads the module through its files, which are rooted: the path is the host's.
  const repository = new TestRepository(kernel.path(paths.repository));
  const logged: string[] = [];
  const log = (_level: Level, message: string): void => void logged.push(message);
  const open = async (): Promise<Loader> => {
    const rooted = {
      check: () => repository.check(),
      fleetPolicy: () => repository.fleetPolicy(),
      kernelPolicy: () => repository.kernelPolicy(),
      fetchLivepatch: async (buildId: string, serial: number) =>
        inHost(await repository.fetchLivepatch(buildId, serial)),
      verifyCached: async (buildId: string, serial: number) => inHost(await repository.verifyCached(buildId, serial)),
    };
    const inHost = <T extends { modulePath: string }>(it: T): T => ({
      ...it,
      modulePath: it.modulePath.slice(kernel.root.length),
    });
    return openLoader({
      edges: kernel.edges(),
      config: Config.parse({ server: 'http://127.0.0.1:1', ...config }),
      identity: { schema: 'kmend.agent-host/1', hostId: HOST_ID, channel: 'stable', machine: null },
      repository: rooted,
      log,
    });
  };
  const host: TestHost = {
    kernel,
    repository,
    logged,
    loader: await open(),
    async restart() {
      host.loader = await open();
      return host.loader;
    },
    async advance(ms = 5_000) {
      const until = kernel.clock.ms + ms;
      while (kernel.clock.ms < until) {
        const wait = await advance(host.loader);
        if (wait === undefined) break;
        kernel.clock.ms += Math.min(wait, until - kernel.clock.ms);
      }
      return host.loader.store.journal.current?.phase ?? 'idle';
    },
  };
  return host;
}

export const never = new AbortController().signal;

/** A look of the loader at what the fetcher brought, as at each regular check. */
export function check(loader: Loader, signal: AbortSignal): Promise<Considered> {
  return consider(loader, { fetched: [] }, signal);
}

/** The fetcher's half of a host, over the same repository. */
export function makeFetcher({ loader, repository }: TestHost): Promise<Fetcher> {
  const identity = {
    schema: 'kmend.agent-identity/1',
    hostId: HOST_ID,
    token: 'secret',
    channel: 'stable',
    machine: null,
  } as const;
  const { edges, config } = loader;
  return openFetcher({ edges, config, identity, repository, log: () => {}, env: {}, pauseMs: () => 0 });
}

/** A fetcher that was in contact when the loader last looked. */
function contactOf({ observed }: Loader): Contact {
  const { coverage, version } = observed.value;
  if (coverage === null) return noContact;
  const { since, seen } = coverage;
  return { ...noContact, contact: { state: 'ok', since, seen }, version, intervalSeconds: 60 };
}

/** What `kmend-agent status` would say. */
export async function view({ loader, kernel }: TestHost): Promise<StatusView> {
  return statusOf({
    observed: loader.observed.value,
    contact: contactOf(loader),
    journal: loader.store.journal,
    kernel: await readKernelView(loader.edges),
    buildId: loader.buildId,
    bootId: loader.bootId,
    now: kernel.clock.now(),
    stack: loader.observed.value.stack,
  });
}
