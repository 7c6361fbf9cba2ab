import { mkdir } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { advance } from '../agent/advance.ts';
import { type Agent, openAgent } from '../agent/context.ts';
import { Config } from '../config/schema.ts';
import { type StatusView, statusOf } from '../decide/status.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import type { Level } from '../log.ts';
import { TestKernel } from './kernel.ts';
import { TestRepository } from './repository.ts';

export interface TestHost {
  readonly kernel: TestKernel;
  readonly repository: TestRepository;
  readonly logged: string[];
  agent: Agent;
  /** A new life of the agent on the same disk. */
  restart(): Promise<Agent>;
  /** Advances until nothing moves any more or `ms` have passed; returns the state. */
  advance(ms?: number): Promise<string>;
}

const HOST_ID = '2d0a0f5e-8c1d-4a53-9a43-1a9fd7b2c5aa';

/** A host with kernel and repository of its own, gone with the test. */
export async function makeHost(context: TestContext, config: Partial<Config> = {}): Promise<TestHost> {
  const kernel = await TestKernel.make();
  context.after(() => kernel.remove());
  await mkdir(kernel.path('/var/lib/kmend-agent/repository'), { recursive: true });
  // The agent reads the module through its files, which are rooted: the path is the host's.
  const repository = new TestRepository(kernel.path('/var/lib/kmend-agent/repository'));
  const logged: string[] = [];
  const log = (_level: Level, message: string): void => void logged.push(message);
  const open = async (): Promise<Agent> => {
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
    return openAgent(
      kernel.edges(),
      Config.parse({ server: 'http://127.0.0.1:1', ...config }),
      { schema: 'kmend.agent-identity/1', hostId: HOST_ID, token: 'secret', channel: 'stable' },
      rooted,
      log,
    );
  };
  const host: TestHost = {
    kernel,
    repository,
    logged,
    agent: await open(),
    async restart() {
      host.agent = await open();
      return host.agent;
    },
    async advance(ms = 5_000) {
      const until = kernel.clock.ms + ms;
      while (kernel.clock.ms < until) {
        const wait = await advance(host.agent);
        if (wait === undefined) break;
        kernel.clock.ms += Math.min(wait, until - kernel.clock.ms);
      }
      return host.agent.store.journal.current?.phase ?? 'idle';
    },
  };
  return host;
}

export const never = new AbortController().signal;

/** What `kmend-agent status` would say. */
export async function view({ agent, kernel }: TestHost): Promise<StatusView> {
  return statusOf({
    observed: agent.observed.value,
    journal: agent.store.journal,
    kernel: await readKernelView(agent.edges),
    buildId: agent.buildId,
    bootId: agent.bootId,
    now: kernel.clock.now(),
  });
}
