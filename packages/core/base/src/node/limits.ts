import { constants } from 'node:os';
import type { RunLimits } from '../process.ts';
import { EdgeError, toolMissing } from './error.ts';

const GIB = 2 ** 30;

/** Far more than any tool of a build needs, and little enough for a machine to survive. */
export const USUAL_LIMITS = { memory: 8 * GIB, fileSize: 8 * GIB, cpuSeconds: 1800 } as const satisfies RunLimits;

/** The command that sets the limits and becomes the tool: prlimit(1) of util-linux, about a millisecond. */
export function limitedCommand(
  file: string,
  args: readonly string[],
  limits: RunLimits | undefined,
): readonly [program: string, words: readonly string[]] {
  if (limits === undefined) return [file, args];
  const { memory, fileSize, cpuSeconds, processes } = limits;
  // A process that ignores the signal at the limit is killed five seconds later.
  const cpu = cpuSeconds === undefined ? [] : [`--cpu=${cpuSeconds}:${cpuSeconds + 5}`];
  const words = [
    '--core=0',
    ...(memory === undefined ? [] : [`--as=${memory}`]),
    ...(fileSize === undefined ? [] : [`--fsize=${fileSize}`]),
    ...cpu,
    ...(processes === undefined ? [] : [`--nproc=${processes}`]),
    '--',
    file,
    ...args,
  ];
  return ['prlimit', words];
}

/** Tells from how a limited command ended what its exit code alone does not say. */
export function brokenLimit(file: string, exitCode: number, stderr: string): EdgeError | undefined {
  if (exitCode === 127 && stderr.startsWith(`prlimit: failed to execute ${file}: No such file`))
    return toolMissing(file);
  const hint = 'what it was given is damaged or made to exhaust this machine';
  if (exitCode === 128 + constants.signals.SIGXCPU)
    return new EdgeError('tool-limit', `${file} used more processor time than it may`, { hint });
  if (exitCode === 128 + constants.signals.SIGXFSZ)
    return new EdgeError('tool-limit', `${file} wrote a larger file than it may`, { hint });
  return undefined;
}
