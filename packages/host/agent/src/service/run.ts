import type { Server } from 'node:net';
import { createQueue } from '@kmend/base';
import { advance } from '../loader/advance.ts';
import { reconcileBoot } from '../loader/boot.ts';
import { consider } from '../loader/consider.ts';
import type { Loader } from '../loader/context.ts';
import { errorData } from '../log.ts';
import { type Actor, perform } from './commands.ts';
import { type Place, serveControl } from './control.ts';
import { ConsiderOrder, LoaderOrder } from './orders.ts';
import { type Bell, createBell, sleep } from './sleep.ts';
import { createTeller } from './teller.ts';

/** How often to look at what is in flight while an attempt to continue it fails. */
const TROUBLE_MS = 10_000;
/** How long the loader stays although it is idle. */
const LINGER_MS = 5_000;

export interface Places {
  /** Takes every order; root alone reaches it. */
  readonly orders: Place;
  /** Takes `consider` alone; the fetcher reaches it. */
  readonly consider: Place;
}

/**
 * The loader's service: takes orders and follows what is in flight. Ends when it is idle (systemd
 * holds the sockets and starts it again), or with `stop`. The caller holds the lock.
 */
export async function runLoader(loader: Loader, places: Places, stop: AbortSignal): Promise<void> {
  const bell = createBell();
  const busy = createGauge(() => bell.ring());
  const actor: Actor = { loader, queue: createQueue(), changed: () => bell.ring() };
  await actor.queue(() => reconcileBoot(loader));
  const serve = <Order extends LoaderOrder>(schema: Parameters<typeof serveControl<Order>>[0], place: Place) =>
    serveControl(schema, (order, tell) => busy.during(() => perform(actor, order, stop, tell)), place);
  const servers: Server[] = [await serve(LoaderOrder, places.orders), await serve(ConsiderOrder, places.consider)];
  loader.log('info', 'ready', { kernel: loader.edges.machine.release() });
  try {
    await advanceUntilRest(actor, stop, bell, busy);
  } finally {
    for (const server of servers) server.close();
  }
}

/** Orders under way. */
interface Gauge {
  readonly idle: boolean;
  during<T>(work: () => Promise<T>): Promise<T>;
}

function createGauge(changed: () => void): Gauge {
  let count = 0;
  return {
    get idle() {
      return count === 0;
    },
    async during(work) {
      count += 1;
      try {
        return await work();
      } finally {
        count -= 1;
        changed();
      }
    },
  };
}

/** Looks by itself where the time for that has come. */
async function lookAgain(loader: Loader, queue: Actor['queue'], stop: AbortSignal): Promise<void> {
  const { wakeAt } = loader.observed.value;
  if (wakeAt === null || Date.parse(wakeAt) > loader.edges.clock.now().getTime()) return;
  try {
    await queue(() => consider(loader, { fetched: [] }, stop));
  } catch (error) {
    // It is kept as a problem, and the fetcher has the loader look again.
    loader.log('warn', 'cannot look again', errorData(error));
  }
}

async function advanceUntilRest({ loader, queue }: Actor, stop: AbortSignal, bell: Bell, busy: Gauge): Promise<void> {
  const { clock } = loader.edges;
  const teller = await createTeller(loader, () => bell.ring(), stop);
  let restSince = clock.monotonic();
  while (!stop.aborted) {
    const wake = bell.signal();
    let wait: number | undefined;
    try {
      wait = await queue(() => advance(loader));
    } catch (error) {
      loader.log('warn', 'cannot continue what is in flight', errorData(error));
      wait = TROUBLE_MS;
    }
    if (busy.idle) teller.tell();
    const { journal } = loader.store;
    if (busy.idle) await lookAgain(loader, queue, stop);
    // Begun, or begun and broken off: it has to be followed at once.
    if (loader.store.journal !== journal) continue;
    const phase = journal.current?.phase;
    // What is good is watched by the fetcher: it has the loader look again when the kernel shows something else.
    const resting = busy.idle && !teller.isBusy && (wait === undefined || phase === 'good');
    if (!resting) restSince = clock.monotonic();
    else if (clock.monotonic() - restSince >= LINGER_MS) return;
    await sleep(clock, resting ? LINGER_MS : (wait ?? LINGER_MS), AbortSignal.any([stop, wake]));
  }
}
