import { createHash } from 'node:crypto';
import { Report, ReportResponse } from '@kmend/protocol';
import { type Agent, channelOf } from '../agent/context.ts';
import { saveIdentity } from '../config/identity.ts';
import { statusOf } from '../decide/status.ts';
import { readFacts } from '../kernel/facts.ts';
import { readKernelView } from '../kernel/livepatch.ts';
import { post } from './http.ts';

/** A report without what changes at every look: time stamps of observations and the sequence number. */
export type ReportContent = Omit<Report, 'at' | 'sequence'>;

export async function reportContent(agent: Agent): Promise<ReportContent> {
  const { edges, store, observed, buildId, bootId } = agent;
  const { journal } = store;
  const kernel = await readKernelView(edges);
  const view = statusOf({ observed: observed.value, journal, kernel, buildId, bootId, now: edges.clock.now() });
  return {
    schema: 'kmend.report/1',
    channel: channelOf(agent),
    facts: await readFacts(edges),
    status: view.status,
    livepatches: view.livepatches,
    effectiveSerial: view.effectiveSerial,
    events: [...journal.events],
  };
}

/** Two reports with the same digest tell the server the same. */
export function digestOf(content: ReportContent): string {
  const text = JSON.stringify(content, (key, value: unknown) => (key === 'seen' ? undefined : value));
  return createHash('sha256').update(text).digest('hex');
}

/**
 * Sends one report. The sequence number is durable before it is used, so that none is used twice; events leave the
 * journal only once the server has them. Returns the seconds until the next regular report.
 */
export async function sendReport(agent: Agent, content: ReportContent, signal: AbortSignal): Promise<number> {
  const { edges, store } = agent;
  const { sequence } = await store.update((journal) => ({ ...journal, sequence: journal.sequence + 1 }));
  const report = Report.parse({ ...content, at: edges.clock.now().toISOString(), sequence });
  const answer = await post(edges, {
    url: `${agent.config.server}/v1/reports`,
    body: report,
    token: agent.identity.token,
    answer: ReportResponse,
    signal,
  });
  const sent = new Set(content.events);
  await store.update((journal) => {
    const events = journal.events.filter((event) => !sent.has(event));
    return events.length === journal.events.length ? journal : { ...journal, events };
  });
  if (answer.channel !== agent.identity.channel) {
    agent.identity = { ...agent.identity, channel: answer.channel };
    await saveIdentity(edges, agent.identity);
    agent.log('info', 'the server moved this host to another channel', { channel: answer.channel });
  }
  return answer.nextReportSeconds;
}
