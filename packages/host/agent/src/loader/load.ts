import { errorText } from '@kmend/base';
import type { VerifiedLivepatch } from '@kmend/trust';
import { journalCode } from '../codes.ts';
import { AgentError } from '../error.ts';
import { assertSameContent } from '../kernel/content.ts';
import { type KernelView, readKernelView } from '../kernel/livepatch.ts';
import { insertModule, isOfHost, MAX_MODULE, removeModule, stageModule } from '../kernel/loader.ts';
import { lastLogTime } from '../kernel/log.ts';
import { assertFits, assertLivepatchSupport } from '../kernel/preconditions.ts';
import { assertPreflight } from '../kernel/preflight.ts';
import { type Attempt, condemnation } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import { stateOf } from '../state/transitions.ts';
import { commit, type Loader } from './context.ts';
import { assertMine } from './packages.ts';

/**
 * Takes one livepatch from the fetcher's cache, verifies it and hands it over. When it resolves the kernel has it;
 * `advance` follows the rest. Throws `not-found` where the fetcher has not brought it.
 */
export async function loadLivepatch(
  loader: Loader,
  serial: number,
  origin: 'check' | 'order',
  signal: AbortSignal,
): Promise<void> {
  assertLivepatchSupport(await readKernelView(loader.edges));
  const fetched = await loader.repository.fetchLivepatch(loader.buildId, serial, signal);
  assertFits(fetched.manifest, loader.buildId);
  signal.throwIfAborted();
  await loadCached(loader, serial, origin);
}

/**
 * The half that needs no network: verify the cached files again, look for conflicts, stage the very bytes that the
 * kernel will get, write the journal, load. The order matters: everything that can say no comes before the journal, and
 * the journal is durable before the kernel is asked.
 */
export async function loadCached(loader: Loader, serial: number, origin: 'check' | 'order' | 'boot'): Promise<void> {
  const { edges, buildId } = loader;
  const verified = await loader.repository.verifyCached(buildId, serial);
  assertSame(verified, serial);
  const { manifest } = verified;
  assertFits(manifest, buildId);
  await assertNotCondemned(loader, verified);
  await assertMine(loader);
  const kernel = await readKernelView(edges);
  const { module } = manifest;
  const logFrom = await lastLogTime(edges);
  if (kernel.livepatches.some((it) => it.name === module && it.enabled)) {
    await takeOver(loader, verified, logFrom);
    return;
  }
  await dropLeftover(loader, kernel, module);
  const staged = await stageModule(edges, verified);
  try {
    await assertPreflight(edges, { manifest, buildId, module: staged.bytes }, loader.config.acceptTaint);
    await commit(loader, (journal, now) =>
      machine.beginLoad(journal, candidate(loader, verified, origin, logFrom), now),
    );
    await insertModule(edges, staged, module);
  } catch (error) {
    if (stateOf(loader.store.journal) === 'loading') await giveUp(loader, error);
    throw error;
  } finally {
    await staged.discard();
  }
  await commit(loader, machine.loaded);
}

/**
 * What is wanted is in the kernel already: nothing is loaded. A previous run of the agent loaded it and the journal
 * is lost, or it is there as another serial: a livepatch that was signed for Secure Boot since is the same livepatch.
 */
async function takeOver(loader: Loader, verified: VerifiedLivepatch, logFrom: number): Promise<void> {
  const { module } = verified.target;
  const file = await loader.edges.files.bytes(verified.modulePath, MAX_MODULE);
  await assertSameContent(loader.edges, module, file ?? new Uint8Array());
  await commit(loader, (journal, now) =>
    journal.current?.module === module && journal.current.phase !== 'failed'
      ? machine.renumber(journal, verified.target.serial, verified.sha256, now)
      : machine.adopt(journal, candidate(loader, verified, 'adopted', logFrom), now),
  );
}

/** What this kernel complained of under one serial it does not get under another. */
async function assertNotCondemned(loader: Loader, { target }: VerifiedLivepatch): Promise<void> {
  const { serial, id } = target;
  const before = condemnation(loader.store.journal, loader.buildId, id);
  if (before === undefined || before.serial === serial) return;
  await commit(loader, (journal, now) => machine.condemn(journal, { ...before, serial }, now));
  throw new AgentError(
    'content-quarantined',
    `serial ${serial} has the content of serial ${before.serial}, which is quarantined: ${before.reason}`.slice(
      0,
      2000,
    ),
    { hint: 'publish a livepatch that was built anew; kmend-agent resume lifts the quarantine' },
  );
}

/** The signed target, the signed description and what was asked for must speak of one livepatch. */
function assertSame({ target, manifest, sha256 }: VerifiedLivepatch, serial: number): void {
  const same =
    target.serial === serial &&
    target.id === manifest.id &&
    target.module === manifest.module &&
    target.kind === manifest.kind &&
    manifest.module === `kmend_${manifest.id}` &&
    manifest.file?.sha256 === sha256;
  if (same) return;
  throw new AgentError('livepatch-damaged', `the descriptions of serial ${serial} disagree`, {
    details: { target, id: manifest.id, module: manifest.module },
    hint: 'nothing was loaded; publish the livepatch again',
  });
}

function candidate(
  loader: Loader,
  verified: VerifiedLivepatch,
  origin: Attempt['origin'],
  logFrom: number,
): machine.Candidate {
  const { serial, id, module } = verified.target;
  const sha256 = origin === 'adopted' ? null : verified.sha256;
  return { buildId: loader.buildId, serial, id, module, bootId: loader.bootId, origin, sha256, logFrom };
}

/** A reverted livepatch whose module stayed in memory bars its own way back. */
async function dropLeftover(loader: Loader, kernel: KernelView, module: string): Promise<void> {
  if (!kernel.modules.includes(module)) return;
  const problem = await removeModule(loader.edges, module);
  if (problem === undefined) return;
  throw new AgentError('conflict-module', `${module} is in memory, disabled, and cannot be unloaded: ${problem}`, {
    hint: 'the agent retries at its next check; a reboot clears it',
  });
}

async function giveUp(loader: Loader, error: unknown): Promise<void> {
  const { livepatches } = await readKernelView(loader.edges);
  await commit(loader, (journal, now) => {
    if (isOfHost(error)) return machine.neverLoaded(journal, now, errorText(error));
    const previous = journal.previous?.module;
    const inForce = livepatches.some((it) => it.name === previous && it.enabled);
    return machine.fail(journal, now, {
      code: journalCode(error),
      message: errorText(error),
      previousInForce: inForce,
    });
  });
}
