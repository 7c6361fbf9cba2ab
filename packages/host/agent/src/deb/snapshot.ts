import { join } from 'node:path';
import type { Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';

/** The name of the snapshot, beside the program. */
export const SNAPSHOT = 'agent.snapshot';

/**
 * Makes Node's startup snapshot of a program (a CommonJS file that calls `startupSnapshot.setDeserializeMainFunction`),
 * in the same directory: the heap behind the program's start, so that a start reads it instead of compiling and running
 * 600 kB of source. Only the very Node that made it takes it. Not every processor feature has to be there again: it
 * holds no machine code. The same program gives the same bytes, wherever the directory is. Throws EdgeError.
 */
export async function makeSnapshot(run: Run, node: string, directory: string, program: string): Promise<void> {
  const args = [
    // Node warns of modules that it did not try in a snapshot; the tests of the agent do.
    '--no-warnings',
    // For the same bytes each time. A process that starts from it takes seeds of its own.
    '--random-seed=1',
    '--hash-seed=1',
    // What threads have compiled counts from when they end, and on a busy machine they end later: nothing in threads.
    // Of V8's flags for that, this one is not among those that a snapshot must be read with.
    '--predictable',
    '--snapshot-blob',
    SNAPSHOT,
    '--build-snapshot',
    // The name is in the snapshot; this one is the same everywhere.
    join('/proc/self/cwd', program),
  ];
  await runOk(run, node, args, { cwd: directory });
}
