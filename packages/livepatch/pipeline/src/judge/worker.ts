/** A process that judges single fixes, one after the other, as it is told over IPC (pool.ts). */
import { errorText, parseJson, silentProgress } from '@kmend/base';
import { places, run, systemClock } from '@kmend/base/node';
import type { DeltaRange } from '@kmend/kernel';
import { Workshop } from '../workshop.ts';
import { Judge, type JudgeOrder } from './judge.ts';

export interface WorkerOrder {
  /** Build id of the kernel. */
  readonly kernel: string;
  readonly range: DeltaRange;
}

const order = parseJson(process.argv[2] ?? '') as WorkerOrder | undefined;
if (order === undefined) throw new Error('this program is started by pool.ts alone');
const stop = new AbortController();
// The run is over, or was interrupted: what is being built ends with it.
process.once('disconnect', () => stop.abort(new Error('nobody waits for it any more')));
const edges = { run, clock: systemClock, fetch, progress: silentProgress, signal: stop.signal };
const workshop = new Workshop(edges, places(), process.env);
const judge = await Judge.open(workshop, await workshop.kernels.open(order.kernel), order.range);

process.on('message', (fix: JudgeOrder) => {
  judge.judge(fix).then(
    (outcome) => process.send?.({ outcome, memory: process.resourceUsage().maxRSS }),
    (error: unknown) => {
      process.stderr.write(`${errorText(error)}\n`);
      process.exit(1);
    },
  );
});
process.send?.({ ready: true });
