import { createHash } from 'node:crypto';
import { type HostEvent, type HostTrouble, Report, ReportResponse } from '@kmend/protocol';
import { saveIdentity } from '../config/identity.ts';
import { statusOf } from '../decide/status.ts';
import { readFacts } from '../kernel/facts.ts';
import { kmendLivepatches, readKernelView } from '../kernel/livepatch.ts';
import { type Observed, readObserved } from '../seen/observed.ts';
import { pendingOf } from '../seen/pending.ts';
import { holdInForce, type Journal } from '../state/journal.ts';
import { peekJournal } from '../state/store.ts';
import { channelOf, type Fetcher } from './context.ts';
import { fitReport, type ReportContent } from './fit-report.ts';
import { post } from './http.ts';

export interface Told {
  readonly content: ReportContent;
  /** Number of the newest event in it, or of the last one sent before. */
  readonly upTo: number;
  /** The loader should look again: it said so, or what the kernel shows is not what its journal says. */
  readonly astray: boolean;
}

/** What there is to tell now: read afresh from the kernel and from what the loader wrote. */
export async function whatToTell(fetcher: Fetcher): Promise<Told> {
  const { edges, buildId, bootId, contact, reports } = fetcher;
  const journal = await peekJournal(edges);
  const observed = await readObserved(edges);
  const kernel = await readKernelView(edges);
  const now = edges.clock.now();
  const { stack } = observed;
  const view = statusOf({ observed, contact: contact.value, journal, kernel, buildId, bootId, now, stack });
  const newest = journal.events.at(-1)?.number ?? 0;
  // A new journal after a damaged one counts from one again.
  const sent = reports.value.sent > newest ? 0 : reports.value.sent;
  const { current } = journal;
  const running = current !== null && current.bootId === bootId && current.phase !== 'failed';
  const shown = kernel.livepatches.some((it) => it.name === current?.module && it.enabled);
  const untold = journal.events.filter((it) => it.number > sent);
  const content = fitReport({
    schema: 'kmend.report/1',
    channel: channelOf(fetcher),
    facts: { ...(await readFacts(edges)), pendingKernel: await pendingOf(edges, observed) },
    status: view.status,
    livepatches: view.livepatches,
    effectiveSerial: view.effectiveSerial,
    ...(stack === null ? {} : { stack }),
    trouble: troubleOf(journal, observed, buildId, now.getTime()),
    events: untold.map(eventOf),
  });
  return {
    content,
    upTo: untold[content.events.length - 1]?.number ?? newest,
    astray:
      (running && !shown && current.phase === 'good') ||
      (stack !== null && observed.shown.join() !== (await kmendLivepatches(edges)).join()) ||
      (observed.wakeAt !== null && Date.parse(observed.wakeAt) <= now.getTime()),
  };
}

function eventOf({ at, code, message, serial }: HostEvent): HostEvent {
  return { at, code, message, ...(serial === undefined ? {} : { serial }) };
}

function troubleOf(journal: Journal, observed: Observed, buildId: string, now: number): HostTrouble {
  const { reason, problem, blockers } = observed;
  const hold = holdInForce(journal, buildId, now);
  return {
    reason,
    problem:
      problem === null
        ? null
        : {
            code: problem.code,
            message: problem.message,
            ...(problem.hint === undefined ? {} : { hint: problem.hint }),
          },
    hold: hold === null ? null : hold.reason,
    quarantined: journal.quarantined
      .filter((it) => it.buildId === buildId)
      .map((it) => ({ serial: it.serial, code: it.code, reason: it.reason })),
    blockers,
  };
}

/** Two reports with the same digest tell the server the same. */
export function digestOf(content: ReportContent): string {
  const text = JSON.stringify(content, (key, value: unknown) => (key === 'seen' ? undefined : value));
  return createHash('sha256').update(text).digest('hex');
}

/**
 * Sends one report. The sequence number is durable before it is used, so that none is used twice; events count as sent
 * only once the server has them. Where this host's count was set back (a restored backup), the server has newer reports
 * and ignores this one: it is sent again above those. Returns the seconds until the next regular report.
 */
export async function sendReport(fetcher: Fetcher, told: Told, signal: AbortSignal): Promise<number> {
  const { edges, reports } = fetcher;
  let answer = await postReport(fetcher, told, signal);
  const { newest = 0 } = answer;
  if (newest > reports.value.sequence) {
    fetcher.log('warn', 'the report count was behind the server’s; continued from the newest', {
      sequence: reports.value.sequence,
      newest,
    });
    await reports.save({ ...reports.value, sequence: newest });
    answer = await postReport(fetcher, told, signal);
  }
  if (reports.value.sent !== told.upTo) await reports.save({ ...reports.value, sent: told.upTo });
  if (answer.channel !== fetcher.identity.channel) {
    fetcher.identity = { ...fetcher.identity, channel: answer.channel };
    await saveIdentity(edges, fetcher.identity);
    fetcher.log('info', 'the server moved this host to another channel', { channel: answer.channel });
  }
  return answer.nextReportSeconds;
}

async function postReport(fetcher: Fetcher, told: Told, signal: AbortSignal): Promise<ReportResponse> {
  return await post(fetcher.edges, {
    url: `${fetcher.config.server}/v1/reports`,
    body: await numbered(fetcher, told),
    token: fetcher.identity.token,
    answer: ReportResponse,
    signal,
  });
}

/** The report with its time and a sequence number that no other has. */
export async function numbered({ edges, reports }: Fetcher, { content }: Told): Promise<Report> {
  await reports.save({ ...reports.value, sequence: reports.value.sequence + 1 });
  const { sequence } = reports.value;
  return Report.parse({ ...content, at: edges.clock.now().toISOString(), sequence });
}
