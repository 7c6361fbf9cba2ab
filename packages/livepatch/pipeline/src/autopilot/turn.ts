import { cp, readFile, rename, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { errorCode, errorText, parseJson } from '@kmend/base';
import { exists, sha256 } from '@kmend/base/node';
import { codeDigest, FixStore } from '@kmend/builder';
import type { Kernel } from '@kmend/kernel';
import { PROOF_FILE, Proof } from '@kmend/protocol';
import { MIN_RAN_PERCENT, readArtifact } from '@kmend/trust';
import { changeKey, largestGood } from '@kmend/update';
import { buildLivepatch } from '../build.ts';
import { proveInLab } from '../lab/prove.ts';
import { type Published, publishLivepatch } from '../publish.ts';
import { attachCves, buildUpdate } from '../update/build.ts';
import type { UpdateReport } from '../update/report.ts';
import type { ReviewStore } from '../update/reviews.ts';
import type { Workshop } from '../workshop.ts';
import type { AutopilotConfig } from './config.ts';
import type { AutopilotState, AutopilotStore, SetAside } from './state.ts';

/** What a turn works with. */
export interface AutopilotWork {
  readonly workshop: Workshop;
  readonly reviews: ReviewStore;
  readonly store: AutopilotStore;
  readonly config: AutopilotConfig;
  /** Signs and sends a livepatch to the server; absent where the release key is elsewhere. */
  readonly publisher?: Publisher | undefined;
  /** Of kmend, for the records of proofs. */
  readonly version: string;
  say(line: string): void;
}

export interface Publisher {
  readonly api: Parameters<typeof publishLivepatch>[0];
  /** Folder of the release key. */
  readonly keys: string;
}

/**
 * Brings one kernel as far as it goes: builds the newest update, proves it, publishes it. What is done already, from
 * the same inputs, is not done again. A failure is kept in the state, and tried again in the next turn.
 */
export async function takeTurn(work: AutopilotWork, kernel: Kernel): Promise<AutopilotState> {
  const { workshop, store, config } = work;
  const { buildId, release } = kernel;
  const before = await store.read(buildId);
  const at = (): string => workshop.edges.clock.now().toISOString();
  const known = { schema: 'kmend.autopilot-state/1', kernel: release, buildId, ...kept(before) } as const;
  let state: AutopilotState = { ...known, to: before?.to ?? '', inputs: '', step: 'building', at: at() };
  const enter = async (more: Partial<AutopilotState>): Promise<AutopilotState> => {
    state = { ...state, ...more, at: at() };
    await store.write(state);
    work.say(`${release}: ${state.step}${state.to === '' ? '' : ` (${state.to})`}`);
    return state;
  };
  try {
    const to = config.to ?? (await workshop.sources.newest(kernel.suite, kernel.version));
    if (to === kernel.version) return await enter({ to, step: 'current' });
    const inputs = await inputsOf(work, to);
    const isSame = before?.inputs === inputs && before.problem === undefined && isDone(before);
    if (isSame && !(await needsMore(work, kernel, before))) return before;
    const out = join(store.folder(buildId), to);
    await enter({ to, inputs, step: 'building', out });
    const report = await build(work, kernel, to, out);
    if (report.livepatch === null) return await enter({ step: 'nothing' });
    const livepatch = report.livepatch.id;
    if (livepatch === before?.published?.id) return await enter({ step: 'unchanged', livepatch });
    await enter({ step: 'proving', livepatch });
    const proven = await prove(work, kernel, { out, to, state });
    if (proven === undefined) return await enter({ step: 'nothing' });
    await enter({ step: 'proven', livepatch: proven.livepatch.id });
    if (work.publisher === undefined || config.publish === undefined) return state;
    const published = await publish(work.publisher, config.publish, join(out, 'livepatch'));
    const directory = join(store.folder(buildId), 'published');
    await copyOver(join(out, 'livepatch'), directory);
    const serial = published === undefined ? {} : { serial: published.serial };
    return await enter({ step: 'published', ...serial, published: { id: proven.livepatch.id, directory } });
  } catch (error) {
    workshop.edges.signal.throwIfAborted();
    const problem = { code: errorCode(error) ?? 'internal', message: errorText(error) };
    work.say(`${release}: ${problem.message}`);
    return await enter({ problem });
  }
}

function kept(before: AutopilotState | undefined): Pick<AutopilotState, 'published' | 'serial'> {
  const { published, serial } = before ?? {};
  return { ...(published !== undefined && { published }), ...(serial !== undefined && { serial }) };
}

function isDone({ step }: AutopilotState): boolean {
  return step !== 'building' && step !== 'proving';
}

/**
 * Attaches names of CVEs that came later than their fixes; whether some of them are in files that were not built,
 * though they are wanted now.
 */
async function needsMore(
  { workshop, config }: AutopilotWork,
  kernel: Kernel,
  { out }: AutopilotState,
): Promise<boolean> {
  if (out === undefined) return false;
  const { cves } = await attachCves(workshop, { kernel, records: config.records, out });
  return config.named && config.paths.length === 0 && cves.some(({ state }) => state === 'not-tried');
}

/** Names all that a livepatch is made from, and what is done with it. */
async function inputsOf({ reviews, config }: AutopilotWork, to: string): Promise<string> {
  const { interval: _, ...rest } = config;
  const decisions = (await reviews.list())
    .map(({ key, state }) => `${key} ${state}`)
    .filter((line) => !line.endsWith(' open'));
  return sha256(JSON.stringify([to, await codeDigest(), rest, decisions.sort()]));
}

async function build(work: AutopilotWork, kernel: Kernel, to: string, out: string): Promise<UpdateReport> {
  const { config, workshop, reviews, store } = work;
  const { records, paths, named, jobs = availableParallelism() } = config;
  const aside = new Map((await store.aside(kernel.buildId)).map(({ key, why }) => [key, why]));
  return await buildUpdate(workshop, reviews, { kernel, to, records, paths, named, jobs, out, aside });
}

/**
 * Proves what was built; where that fails, finds the fixes that make it fail, sets them aside and builds the rest.
 * `undefined` if nothing is left.
 */
async function prove(
  work: AutopilotWork,
  kernel: Kernel,
  { out, to, state }: { readonly out: string; readonly to: string; readonly state: AutopilotState },
): Promise<Proof | undefined> {
  for (;;) {
    const directory = join(out, 'livepatch');
    const proof = await proofOf(work, directory, state.published?.directory);
    if (proof.passed) return proof;
    const failed = proof.steps.find(({ outcome }) => outcome === 'failed');
    const why =
      failed === undefined ? 'a step was not made' : `${failed.name}: ${failed.details.slice(0, 5).join('; ')}`;
    work.say(`${kernel.release}: the proof failed, look for the fixes: ${why.slice(0, 500)}`);
    const guilty = await guiltyOf(work, kernel, out);
    const at = work.workshop.edges.clock.now().toISOString();
    await work.store.setAside(
      kernel.buildId,
      guilty.map((fix): SetAside => ({ ...fix, why: why.slice(0, 2000), at })),
    );
    const report = await build(work, kernel, to, out);
    if (report.livepatch === null) return undefined;
  }
}

/** The record of a proof that was made before, or a new one. */
async function proofOf(work: AutopilotWork, directory: string, previous: string | undefined): Promise<Proof> {
  const { livepatch } = await readArtifact(directory);
  const text = await readFile(join(directory, PROOF_FILE), 'utf8').catch(() => '');
  const before = Proof.safeParse(parseJson(text)).data;
  if (before?.passed === true && before.livepatch.sha256 === livepatch.file?.sha256) return before;
  const { exercise, rounds, transitionLimit } = work.config.prove;
  const order = {
    directory,
    reproducers: new Map<string, string>(),
    exercise,
    rounds,
    transitionLimit,
    version: work.version,
  };
  const isThere = previous !== undefined && (await exists(previous));
  return (await proveInLab(work.workshop, isThere ? { ...order, previous } : order)).proof;
}

/** Fixes without which the livepatch passes its proof, found by halving. */
async function guiltyOf(work: AutopilotWork, kernel: Kernel, out: string): Promise<Pick<SetAside, 'key' | 'fix'>[]> {
  const fixes = await new FixStore(out).list();
  const trial = join(out, 'trial');
  const good = await largestGood(fixes, async (some) => {
    if (some.length === fixes.length) return false;
    work.say(`${kernel.release}: prove ${some.length} of ${fixes.length} fixes`);
    const what = { fixes: some, kind: 'cumulative', on: [], acceptReview: true } as const;
    const { verdict } = await buildLivepatch(work.workshop, { ...what, kernel: kernel.buildId, out: trial });
    // By itself it may not be one: then it is not what fails.
    return verdict === 'refused' || (await proofOf(work, trial, undefined)).passed;
  });
  await rm(trial, { recursive: true, force: true });
  const guilty = fixes.filter((fix) => !good.includes(fix));
  return guilty.map(({ id, patch }) => ({ fix: id, key: changeKey(patch) }));
}

/** `undefined` if these very files are published already: the machine stopped behind that. */
async function publish(
  { api, keys }: Publisher,
  { channel, minRan = MIN_RAN_PERCENT, reason }: NonNullable<AutopilotConfig['publish']>,
  livepatch: string,
): Promise<Published | undefined> {
  const order = { livepatch, channel, keys, unproven: false, minRanPercent: minRan };
  try {
    return await publishLivepatch(api, reason === undefined ? order : { ...order, reason });
  } catch (error) {
    if (errorCode(error) !== 'publication-duplicate') throw error;
    return undefined;
  }
}

async function copyOver(from: string, to: string): Promise<void> {
  const fresh = `${to}.new`;
  await rm(fresh, { recursive: true, force: true });
  await cp(from, fresh, { recursive: true });
  await rm(to, { recursive: true, force: true });
  await rename(fresh, to);
}
