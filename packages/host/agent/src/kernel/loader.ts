import { createHash, randomBytes } from 'node:crypto';
import { diskFault, errorCode, errorText, KmendError } from '@kmend/base';
import { type HostRefusal, hostRefusalOf, manifestRule, timing } from '@kmend/rules';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError, diskError } from '../error.ts';
import { LIVEPATCH_DIRECTORY } from './livepatch.ts';
import { lastLogTime, linesSince } from './log.ts';
import { modulesDisabled } from './preconditions.ts';

const INSMOD = '/sbin/insmod';
const RMMOD = '/sbin/rmmod';
const TOOL_TIMEOUT_MS = timing.insmod * 1000;
/** Largest module the agent reads into memory. */
export const MAX_MODULE = manifestRule.moduleBytes;

/** A copy of a module that only root can reach, whose bytes were compared after they were written. */
export interface StagedModule {
  readonly path: string;
  readonly bytes: Uint8Array;
  discard(): Promise<void>;
}

/**
 * Copies the verified module to a root-only file and checks the hash of that very copy: from here on only root can
 * change what the kernel is given.
 */
export async function stageModule(
  edges: Edges,
  verified: { modulePath: string; sha256: string },
): Promise<StagedModule> {
  const path = `${paths.loaderRuntime}/load-${randomBytes(8).toString('hex')}.ko`;
  const discard = (): Promise<void> => edges.files.remove(path);
  try {
    await edges.files.directory(paths.loaderRuntime, 0o750);
    const source = await edges.files.bytes(verified.modulePath, MAX_MODULE);
    await edges.files.writePrivate(path, source ?? new Uint8Array());
    const bytes = await edges.files.bytes(path, MAX_MODULE);
    const found = bytes === undefined ? 'nothing' : createHash('sha256').update(bytes).digest('hex');
    if (bytes === undefined || found !== verified.sha256) {
      throw new AgentError(
        'livepatch-damaged',
        `the copy to load has SHA-256 ${found}, but ${verified.sha256} is signed`,
        {
          hint: 'nothing was loaded; the agent fetches it again at its next check',
        },
      );
    }
    return { path, bytes, discard };
  } catch (error) {
    await discard();
    throw diskError(error, paths.loaderRuntime);
  }
}

/**
 * Hands the module to the kernel. Throws `load-refused` with the kernel's own words; where it is the host that cannot
 * (no memory, a failing disk, no process to be had, no loads permitted, no trust in the signer) `memory-low`, the
 * disk's codes, `tool-failed`, `conflict-transition`, `conflict-module`, `modules-disabled`, `load-not-permitted`,
 * `signature-untrusted` (`isOfHost`).
 */
export async function insertModule(edges: Edges, staged: StagedModule, module: string): Promise<void> {
  const before = await lastLogTime(edges);
  const result = await tool(edges, INSMOD, [edges.files.real(staged.path)]);
  if (result === undefined) return;
  const means = hostRefusalOf(result);
  if (means !== undefined) throw await ofHost(edges, staged, module, result, means);
  const kernelLog = await linesSince(edges, before);
  const said = kernelLog.length === 0 ? 'the kernel log says nothing' : `kernel log: ${kernelLog.join(' | ')}`;
  throw new AgentError('load-refused', `the kernel refused ${module}: ${result}; ${said}`.slice(0, 2000), {
    details: { kernelLog },
    hint: 'it is quarantined on this host; the kernel log lines name the cause (docs/agent.md)',
  });
}

async function ofHost(
  edges: Edges,
  staged: StagedModule,
  module: string,
  said: string,
  means: HostRefusal,
): Promise<unknown> {
  switch (means) {
    case 'memory-low':
      return new AgentError('memory-low', `the kernel had no memory for ${module}: ${said}`, {
        hint: 'free some memory (MemAvailable in /proc/meminfo); the agent retries at its next check',
      });
    case 'conflict-transition':
      return new AgentError('conflict-transition', `the kernel was busy with another transition: ${said}`, {
        hint: 'the kernel does one transition at a time; the agent retries at its next check',
      });
    case 'conflict-module':
      return new AgentError('conflict-module', `a module of the name ${module} is in memory already: ${said}`, {
        hint: 'the agent retries at its next check; a reboot clears it',
      });
    case 'not-permitted':
      return (await modulesDisabled(edges)) ?? notPermitted(module, said);
    case 'key-untrusted':
      return new AgentError('signature-untrusted', `the kernel trusts no key that ${module} is signed with: ${said}`, {
        hint: 'enrol the certificate of the signer on this host (`mokutil --import`, then reboot), or sign livepatches with a key that is enrolled',
      });
    default:
      return diskError(new KmendError(means, said), staged.path);
  }
}

function notPermitted(module: string, said: string): AgentError {
  return new AgentError('load-not-permitted', `the kernel permits no load of ${module}: ${said}`, {
    hint: 'check for lockdown, a security module or a container (dmesg); the agent retries at its next check',
  });
}

const OF_HOST: readonly unknown[] = [
  'memory-low',
  'tool-failed',
  'conflict-transition',
  'conflict-module',
  'modules-disabled',
  'load-not-permitted',
  'signature-untrusted',
];

/** Whether a load failed for what the host lacks: that is nothing against the livepatch, which is tried again. */
export function isOfHost(error: unknown): boolean {
  return OF_HOST.includes(errorCode(error)) || diskFault(error) !== undefined;
}

/** Unloads a module that is no enabled livepatch any more; returns why it did not work, `undefined` where it did. */
export async function removeModule(edges: Edges, module: string): Promise<string | undefined> {
  try {
    return await tool(edges, RMMOD, [module]);
  } catch (error) {
    return errorText(error);
  }
}

/**
 * `undefined` on success, else what the tool said. Throws `tool-failed` and the disk's codes where it could not even be
 * started.
 */
async function tool(edges: Edges, file: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const result = await edges.run(file, args, { timeoutMs: TOOL_TIMEOUT_MS, maxOutput: 1_000_000 });
    if (result.exitCode === 0) return undefined;
    return result.stderr.trim().slice(0, 500) || `exit code ${result.exitCode}`;
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'tool-failed' && code !== 'tool-missing') return errorText(error);
    if (diskFault(error) !== undefined) throw diskError(error, file);
    throw new AgentError('tool-failed', errorText(error), {
      cause: error,
      hint: 'nothing was loaded; the agent retries at its next check',
    });
  }
}

/**
 * Asks the kernel to take a livepatch out of force (writes 0 to `enabled`; kernel/livepatch/core.c, enabled_store):
 * that starts a transition back, or turns round the one under way.
 */
export async function disableLivepatch(edges: Edges, module: string): Promise<void> {
  try {
    await edges.files.poke(`${LIVEPATCH_DIRECTORY}/${module}/enabled`, '0');
  } catch (error) {
    throw new AgentError('revert-failed', `the kernel did not revert ${module}: ${String(error)}`, {
      cause: error,
      hint: 'the kernel log says why; the livepatch stays in force meanwhile',
    });
  }
}
