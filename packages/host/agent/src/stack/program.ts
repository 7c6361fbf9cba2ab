import { errorText, parseJson } from '@kmend/base';
import { LivepatchMeasure, LivepatchStatus } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

/**
 * The packages' loader (docs/packages.md): it alone knows what packages did, and it verifies by itself whatever it
 * loads.
 */
export const PROGRAM = '/usr/sbin/kmend-livepatch';

const MAX_DOCUMENT = 4 * 1024 * 1024;
const READ_MS = 30_000;
/** It waits a minute for another one at work. */
const YIELD_MS = 90_000;
/** A whole stack may have to be loaded, a transition each. */
const TAKE_MS = 10 * 60_000;

const UNREADABLE_HINT =
  'see kmend-livepatch status; if only the agent should drive this host, remove the package kmend-livepatch';

/** What packages do on this host; `undefined` where their loader is not installed. Throws `packages-unreadable`. */
export async function readPackages(edges: Edges): Promise<LivepatchStatus | undefined> {
  if ((await edges.files.modified(PROGRAM)) === undefined) return undefined;
  // Its exit code is its answer: a document came where it is no failure.
  return await read(edges, 'status', LivepatchStatus);
}

/** What the stack costs. Throws `packages-unreadable`. */
export function measurePackages(edges: Edges): Promise<LivepatchMeasure> {
  return read(edges, 'measure', LivepatchMeasure);
}

async function read<T>(edges: Edges, command: string, schema: z.ZodType<T>): Promise<T> {
  const { stdout, said } = await ask(edges, [command, '--json'], READ_MS, 'packages-unreadable', UNREADABLE_HINT);
  const parsed = schema.safeParse(parseJson(stdout));
  if (parsed.success) return parsed.data;
  const why = stdout.trim() === '' ? said || 'it printed nothing' : z.prettifyError(parsed.error);
  throw new AgentError(
    'packages-unreadable',
    `the answer of kmend-livepatch ${command} is not understood: ${why}`.slice(0, 2000),
    {
      hint: UNREADABLE_HINT,
    },
  );
}

/** The agent drives this host: for good, or in this boot alone. Throws `packages-failed`. */
export async function yieldHost(edges: Edges, lasts: 'for good' | 'until boot'): Promise<void> {
  const words = lasts === 'for good' ? ['yield'] : ['yield', '--until-boot'];
  const { exitCode, said } = await ask(edges, words, YIELD_MS, 'packages-failed', YIELD_HINT);
  if (exitCode === 0) return;
  throw new AgentError('packages-failed', `the packages did not yield: ${said}`, { hint: YIELD_HINT });
}

const YIELD_HINT = 'see kmend-livepatch status; what is in force stays';

/**
 * The packages drive this host, and `over`, the agent's livepatch, makes way. Returns what did not go well, in the
 * loader's words; who drives afterwards is what `readPackages` says: they may drive, and have trouble of their own.
 */
export async function takeHost(edges: Edges, over: string | undefined): Promise<string | undefined> {
  const words = over === undefined ? ['take'] : ['take', '--over', over];
  try {
    const { exitCode, said } = await ask(edges, words, TAKE_MS, 'packages-failed', '');
    return exitCode === 0 ? undefined : said || `kmend-livepatch take ended with ${exitCode}`;
  } catch (error) {
    return errorText(error);
  }
}

async function ask(
  edges: Edges,
  args: readonly string[],
  timeoutMs: number,
  code: 'packages-unreadable' | 'packages-failed',
  hint: string,
): Promise<{ exitCode: number; stdout: string; said: string }> {
  try {
    const { exitCode, stdout, stderr } = await edges.run(PROGRAM, args, { timeoutMs, maxOutput: MAX_DOCUMENT });
    const said = stderr.trim().split('\n').slice(-5).join(' | ').slice(0, 1000);
    return { exitCode, stdout: stdout.toString('utf8'), said };
  } catch (cause) {
    throw new AgentError(code, `kmend-livepatch ${args.join(' ')}: ${errorText(cause)}`, { cause, hint });
  }
}
