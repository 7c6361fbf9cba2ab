import { text } from 'node:stream/consumers';
import { errorCode, errorText } from '@kmend/base';
import type { ReportFile } from '@kmend/protocol';
import { proxySettings } from '../config/proxy.ts';
import { repositoryUrls } from '../config/schema.ts';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { useProxy } from '../edges/proxy.ts';
import { AgentError, exitCodes } from '../error.ts';
import { check, fetchLivepatch } from '../fetcher/check.ts';
import type { Fetcher } from '../fetcher/context.ts';
import { buySeat, EnrolRequest } from '../fetcher/enrol.ts';
import { numbered, whatToTell } from '../fetcher/report.ts';
import { tellNews } from '../fetcher/tell.ts';
import { turn } from '../fetcher/turn.ts';
import { waitSeconds } from '../fetcher/wait.ts';
import { advance } from '../loader/advance.ts';
import { boot, reconcileBoot } from '../loader/boot.ts';
import { commit, wakeSoon } from '../loader/context.ts';
import { missingMount } from '../loader/state-place.ts';
import { DEFAULT_INTERVAL_SECONDS } from '../seen/contact.ts';
import { readObserved } from '../seen/observed.ts';
import { runLoader } from '../service/run.ts';
import { sleep } from '../service/sleep.ts';
import * as machine from '../state/machine.ts';
import { stateOf } from '../state/transitions.ts';
import { trustCertificates } from './certificates.ts';
import type { Context, Values } from './context.ts';
import { inheritedPlaces } from './listen.ts';
import { assertRoot } from './root.ts';
import { type LoaderSession, type Logging, openFetcherSession, openLoaderSession } from './session.ts';
import type { Terminal } from './terminal.ts';
import { commandText } from './text.ts';

/**
 * `kmend-agent fetcher-once`: one run of the fetcher: a full turn; with `--metadata` signed metadata alone are fetched,
 * with `--serial N` one livepatch; with `--tell` only what is new is reported; with `--bundle FILE` a carried bundle
 * stands for the network; with `--report` the report is printed in place of the result; with `--service` the seconds
 * until the next check are, whatever happened.
 */
export async function fetcherOnce(context: Context, values: Values): Promise<number> {
  const { edges, env, uid, signal, terminal } = context;
  assertNotRoot(uid);
  const { bundle } = values;
  const options = { ...logging(env), ...(typeof bundle === 'string' ? { bundle } : {}) };
  const service = values['service'] === true;
  const { fetcher, lock } = await openFetcherSession(edges, env, options).catch((error: unknown) => {
    // Said once an interval, not at once again.
    if (service) terminal.raw(`${DEFAULT_INTERVAL_SECONDS}\n`);
    throw error;
  });
  try {
    return await runOnce(fetcher, context, values);
  } finally {
    lock.release();
    if (service) {
      const { wakeAt } = await readObserved(edges);
      const { intervalSeconds } = fetcher.contact.value;
      const at = wakeAt === null ? undefined : Date.parse(wakeAt);
      // As long as one of the mirrors may be asked, it is.
      const pauseMs = Math.min(...repositoryUrls(fetcher.config).map(fetcher.pauseMs));
      const now = edges.clock.now().getTime();
      terminal.raw(`${waitSeconds({ intervalSeconds, wakeAt: at, now, pauseMs }, edges.random())}\n`);
    }
    if (signal.aborted) terminal.note('interrupted');
  }
}

async function runOnce(fetcher: Fetcher, { signal, terminal }: Context, values: Values): Promise<number> {
  const { serial } = values;
  if (typeof serial === 'string') {
    const found = await fetchLivepatch(fetcher, Number(serial), signal);
    terminal.note(found ? `fetched serial ${serial}` : `the repository has no serial ${serial}`);
    return 0;
  }
  if (values['metadata'] === true) {
    await check(fetcher, signal);
    return 0;
  }
  if (values['tell'] === true) {
    await tellNews(fetcher, signal);
    return 0;
  }
  const carried = typeof values['bundle'] === 'string' || values['report'] === true;
  const tell = (line: string): void => terminal.note(line);
  const options = { look: values['service'] !== true, report: !carried, tell };
  if (values['report'] === true) return await reportToFile(fetcher, () => turn(fetcher, options, signal), terminal);
  const result = await turn(fetcher, options, signal);
  if (values['service'] !== true && result !== undefined) terminal.result(result, commandText);
  return 0;
}

/** The report is wanted above all where the check failed. */
async function reportToFile(fetcher: Fetcher, work: () => Promise<unknown>, terminal: Terminal): Promise<number> {
  let failure: unknown;
  try {
    await work();
  } catch (error) {
    failure = error;
    terminal.note(`kmend-agent: ${errorText(error)} [${errorCode(error) ?? 'internal'}]`);
  }
  const report = await numbered(fetcher, await whatToTell(fetcher));
  const file: ReportFile = { schema: 'kmend.report-file/1', hostId: fetcher.identity.hostId, report };
  terminal.raw(`${JSON.stringify(file, null, 2)}\n`);
  return failure === undefined ? 0 : exitCodes.failed;
}

/** `kmend-agent fetcher-enrol`: buys the seat; what it needs comes on stdin, so that the key is in no process list. */
export async function fetcherEnrol({ edges, env, uid, stdin, terminal }: Context): Promise<number> {
  assertNotRoot(uid);
  const request = EnrolRequest.parse(JSON.parse(await text(stdin)));
  await trustCertificates([request.config.server], request.config.caFile);
  useProxy(proxySettings(request.config, env));
  const { hostId, channel } = await buySeat(edges, request);
  terminal.result({ hostId, channel }, (it) => JSON.stringify(it));
  return 0;
}

/** `kmend-agent loader`: the service that loads; systemd starts it on a request, or after it died at work. */
export async function loader({ edges, env, uid, signal }: Context): Promise<number> {
  assertRoot(uid);
  const session = await openLoaderSession(edges, { ...logging(env), patient: true });
  try {
    await runLoader(session.loader, inheritedPlaces(env, process.pid), signal);
  } finally {
    session.lock.release();
  }
  return 0;
}

/** Longest that a boot waits for a transition; the loader follows it further. */
const BOOT_WAIT_MS = 30_000;

/**
 * Early in a boot, and once more late in it where the state lies on a network file system. What it began is followed by
 * the loader, in rescue mode and in an offline update too.
 */
export async function bootCommand({ edges, env, uid, signal, terminal }: Context): Promise<number> {
  assertRoot(uid);
  const missing = await missingMount(edges);
  if (missing !== undefined) {
    const later = { outcome: 'later', crashed: false, state: 'unknown' } as const;
    terminal.result(later, () => `boot: ${missing}, where the state lies, is not mounted yet`);
    return 0;
  }
  if (!(await edges.files.isDirectory(paths.loader))) {
    // A /var that begins empty at each boot: systemd-tmpfiles makes it later.
    terminal.result(
      { outcome: 'nothing-good', crashed: false, state: 'idle' },
      (it) => `boot: ${it.outcome} (no state)`,
    );
    return 0;
  }
  const session = await ofThisMachine(openLoaderSession(edges, { ...logging(env), patient: false }));
  if (session === undefined) {
    terminal.result({ outcome: 'other-machine', crashed: false, state: 'idle' }, (it) => `boot: ${it.outcome}`);
    return 0;
  }
  const { loader, lock } = session;
  try {
    await edges.files.writeAtomic(paths.booted, '', 0o640);
    const { outcome, crashed } = await boot(loader);
    const until = edges.clock.monotonic() + BOOT_WAIT_MS;
    while (!signal.aborted && edges.clock.monotonic() < until) {
      const state = stateOf(loader.store.journal);
      if (state !== 'transition' && state !== 'replacing') break;
      await sleep(edges.clock, (await advance(loader)) ?? 0, signal);
    }
    const state = stateOf(loader.store.journal);
    terminal.result({ outcome, crashed, state }, (it) => `boot: ${it.outcome} (${it.state})`);
  } finally {
    const { current } = loader.store.journal;
    // Nothing was good on this kernel yet: what was fetched ahead for it is looked at, network or not.
    if (current === null) await wakeSoon(loader);
    lock.release();
    if (current === null || current.phase !== 'failed') await haveFollowed(edges);
  }
  return 0;
}

/**
 * `undefined` on a clone of an enrolled machine: it has nothing to load and nothing to note. `status` and `doctor` say
 * what it is; a failed unit would make the whole host `degraded` until the next boot.
 */
async function ofThisMachine(session: Promise<LoaderSession>): Promise<LoaderSession | undefined> {
  try {
    return await session;
  } catch (error) {
    if (errorCode(error) !== 'other-machine') throw error;
    return undefined;
  }
}

/** systemd starts it once the basic system is up, whatever the boot's target is. */
async function haveFollowed(edges: Edges): Promise<void> {
  await edges.run('/bin/systemctl', ['--no-block', 'start', 'kmend-loader.service'], { timeoutMs: 30_000 });
}

export async function shutdown({ edges, env, uid, terminal }: Context): Promise<number> {
  assertRoot(uid);
  const session = await ofThisMachine(openLoaderSession(edges, { ...logging(env), patient: true }));
  if (session === undefined) return 0;
  const { loader, lock } = session;
  try {
    await reconcileBoot(loader);
    if (loader.store.journal.current !== null) await commit(loader, machine.markShutdown);
    terminal.result({ state: stateOf(loader.store.journal) }, (it) => `shutdown noted (${it.state})`);
  } finally {
    lock.release();
  }
  return 0;
}

function logging(env: Context['env']): Logging {
  return { journal: env['JOURNAL_STREAM'] !== undefined, write: (line) => process.stderr.write(line) };
}

/** What talks to the network must not be able to load anything. */
function assertNotRoot(uid: number | undefined): void {
  if (uid !== 0) return;
  throw new AgentError('is-root', 'this part of the agent talks to the network and never runs as root', {
    hint: 'it is for kmend-agent.service (user kmend-agent); use kmend-agent check',
  });
}
