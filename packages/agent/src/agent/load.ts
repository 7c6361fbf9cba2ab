import { errorCode, errorText } from '@kmend/base';
import type { VerifiedLivepatch } from '@kmend/trust';
import { AgentError } from '../error.ts';
import { type KernelView, readKernelView } from '../kernel/livepatch.ts';
import { insertModule, removeModule, stageModule } from '../kernel/loader.ts';
import {
  assertFits,
  assertLivepatchSupport,
  assertMayLoad,
  assertNoConflict,
  assertNotHooked,
} from '../kernel/preconditions.ts';
import type { Attempt } from '../state/journal.ts';
import * as machine from '../state/machine.ts';
import { type Agent, commit } from './context.ts';

/** Fetches, verifies and hands over one livepatch. When it resolves the kernel has it; `advance` follows the rest. */
export async function loadLivepatch(agent: Agent, serial: number, signal: AbortSignal): Promise<void> {
  assertLivepatchSupport(await readKernelView(agent.edges));
  const fetched = await agent.repository.fetchLivepatch(agent.buildId, serial, signal);
  assertFits(fetched.manifest, agent.buildId);
  signal.throwIfAborted();
  await loadCached(agent, serial, 'check');
}

/**
 * The half that needs no network: verify the cached files again, look for conflicts, stage the very bytes that the
 * kernel will get, write the journal, load. The order matters: everything that can say no comes before the journal, and
 * the journal is durable before the kernel is asked.
 */
export async function loadCached(agent: Agent, serial: number, origin: 'check' | 'boot'): Promise<void> {
  const { edges, buildId } = agent;
  const verified = await agent.repository.verifyCached(buildId, serial);
  assertSame(verified, serial);
  assertFits(verified.manifest, buildId);
  const kernel = await readKernelView(edges);
  assertLivepatchSupport(kernel);
  assertNoConflict(kernel);
  const { module } = verified.manifest;
  if (kernel.livepatches.some((it) => it.name === module && it.enabled)) {
    await commit(agent, (journal, now) => machine.adopt(journal, candidate(agent, verified, 'adopted'), now));
    return;
  }
  await assertNotHooked(edges, verified.manifest, kernel);
  await dropLeftover(agent, kernel, module);
  const staged = await stageModule(edges, verified);
  try {
    await assertMayLoad(edges, staged.bytes);
    await commit(agent, (journal, now) => machine.beginLoad(journal, candidate(agent, verified, origin), now));
    await insertModule(edges, staged, module);
  } catch (error) {
    if (machine.stateOf(agent.store.journal) === 'loading') await giveUp(agent, error);
    throw error;
  } finally {
    await staged.discard();
  }
  await commit(agent, machine.loaded);
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
  throw new AgentError('livepatch-damaged', `serial ${serial} is not described the same everywhere`, {
    details: { target, id: manifest.id, module: manifest.module },
    hint: 'nothing was loaded; publish the livepatch again',
  });
}

function candidate(agent: Agent, verified: VerifiedLivepatch, origin: Attempt['origin']): machine.Candidate {
  const { serial, id, module } = verified.target;
  const sha256 = origin === 'adopted' ? null : verified.sha256;
  return { buildId: agent.buildId, serial, id, module, bootId: agent.bootId, origin, sha256 };
}

/** A reverted livepatch whose module stayed in memory bars its own way back. */
async function dropLeftover(agent: Agent, kernel: KernelView, module: string): Promise<void> {
  if (!kernel.modules.includes(module)) return;
  const problem = await removeModule(agent.edges, module);
  if (problem === undefined) return;
  throw new AgentError('conflict-module', `${module} is in memory, disabled, and cannot be unloaded: ${problem}`, {
    hint: 'the agent tries again at its next check; a reboot clears it',
  });
}

async function giveUp(agent: Agent, error: unknown): Promise<void> {
  const { livepatches } = await readKernelView(agent.edges);
  await commit(agent, (journal, now) => {
    const previous = journal.previous?.module;
    const inForce = livepatches.some((it) => it.name === previous && it.enabled);
    return machine.fail(journal, now, errorCode(error) ?? 'load-failed', errorText(error), inForce);
  });
}
