import { cp, readFile, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { errorCode, parseJson } from '@kmend/base';
import { exists, sha256 } from '@kmend/base/node';
import { codeDigest, FixStore } from '@kmend/builder';
import type { Kernel } from '@kmend/kernel';
import { PROOF_FILE, Proof } from '@kmend/protocol';
import { MIN_RAN_PERCENT, readArtifact } from '@kmend/trust';
import { changeKey } from '@kmend/update';
import { buildLivepatch } from '../build.ts';
import { proveInLab } from '../lab/prove.ts';
import { publishLivepatch } from '../publish.ts';
import { attachCves, buildUpdate } from '../update/build.ts';
import type { ReviewStore } from '../update/reviews.ts';
import type { Workshop } from '../workshop.ts';
import type { AutopilotConfig } from './config.ts';
import type { AutopilotSteps } from './turn.ts';

/** What the steps of an autopilot work with. */
export interface AutopilotWork {
  readonly workshop: Workshop;
  readonly reviews: ReviewStore;
  readonly config: AutopilotConfig;
  /** Signs and sends a livepatch to the server; absent where the release key is elsewhere. */
  readonly publisher?: Publisher | undefined;
  /** Of kmend, for the records of proofs. */
  readonly version: string;
}

export interface Publisher {
  readonly api: Parameters<typeof publishLivepatch>[0];
  /** Folder of the release key. */
  readonly keys: string;
}

/** The steps for one kernel: with the archive, the builder, the lab and the server. */
export function stepsFor(work: AutopilotWork, kernel: Kernel): AutopilotSteps {
  const { workshop, reviews, config, publisher, version } = work;
  const { records, paths, named, jobs = availableParallelism() } = config;
  const target = config.publish;
  return {
    newest: async () => config.to ?? (await workshop.sources.newest(kernel.suite, kernel.version)),
    inputs: async (to) => {
      const { interval: _, ...rest } = config;
      const decided = (await reviews.list()).filter(({ state }) => state !== 'open');
      const decisions = decided.map(({ key, state }) => `${key} ${state}`).sort();
      return sha256(JSON.stringify([to, await codeDigest(), rest, decisions]));
    },
    build: async (to, out, aside) => {
      const order = { kernel, to, records, paths, named, jobs, out, aside };
      try {
        return (await buildUpdate(workshop, reviews, order)).livepatch?.id;
      } catch (error) {
        // It concerns other kernels, or no record names a file of it yet.
        if (errorCode(error) === 'update-nothing') return undefined;
        throw error;
      }
    },
    refresh: async (out) => {
      if (!(await exists(join(out, 'update.json')))) return true;
      const { cves } = await attachCves(workshop, { kernel, records, out });
      return named && paths.length === 0 && cves.some(({ state }) => state === 'not-tried');
    },
    fixes: async (out) => (await new FixStore(out).list()).map(({ id, patch }) => ({ fix: id, key: changeKey(patch) })),
    buildSome: async (from, ids, out) => {
      const fixes = (await new FixStore(from).list()).filter(({ id }) => ids.includes(id));
      const what = { fixes, kind: 'cumulative', on: [], acceptReview: true } as const;
      const { verdict } = await buildLivepatch(workshop, { ...what, kernel: kernel.buildId, out });
      return verdict !== 'refused';
    },
    prove: async (directory, previous) => {
      const { livepatch } = await readArtifact(directory);
      const text = await readFile(join(directory, PROOF_FILE), 'utf8').catch(() => '');
      const before = Proof.safeParse(parseJson(text)).data;
      if (before?.passed === true && before.livepatch.sha256 === livepatch.file?.sha256) return undefined;
      const isThere = previous !== undefined && (await exists(previous));
      const order = { ...config.prove, directory, reproducers: new Map<string, string>(), version };
      const { proof } = await proveInLab(workshop, isThere ? { ...order, previous } : order);
      return proof.passed ? undefined : whyFailed(proof);
    },
    ...(publisher !== undefined &&
      target !== undefined && {
        publish: async (directory) => {
          const { channel, minRan = MIN_RAN_PERCENT, reason } = target;
          const order = { livepatch: directory, channel, keys: publisher.keys, unproven: false, minRanPercent: minRan };
          try {
            const { serial } = await publishLivepatch(
              publisher.api,
              reason === undefined ? order : { ...order, reason },
            );
            return serial;
          } catch (error) {
            // These very files are published: the machine stopped behind that.
            if (errorCode(error) === 'publication-duplicate') return undefined;
            throw error;
          }
        },
      }),
    keep: async (from, to) => {
      const fresh = `${to}.new`;
      await rm(fresh, { recursive: true, force: true });
      await cp(from, fresh, { recursive: true });
      await rm(to, { recursive: true, force: true });
      await rename(fresh, to);
    },
    discard: (directory) => rm(directory, { recursive: true, force: true }),
  };
}

function whyFailed({ steps }: Proof): string {
  const failed = steps.find(({ outcome }) => outcome === 'failed');
  return failed === undefined ? 'a step was not made' : `${failed.name}: ${failed.details.slice(0, 5).join('; ')}`;
}
