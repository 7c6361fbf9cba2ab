import { type HostEvent, MAX_REPORT, type Report } from '@kmend/protocol';

/** A report without what changes at every look: time stamps of observations and the sequence number. */
export type ReportContent = Omit<Report, 'at' | 'sequence'>;

/** Bytes left for what is added to the content: time, sequence, the frame of a report that is carried by hand. */
const FRAME = 16 * 1024;
const MOST = MAX_REPORT - FRAME;

/** What is given up where a report is too large, the least telling first; each step keeps what the ones before did. */
const STEPS: readonly ((content: ReportContent) => ReportContent)[] = [
  (content) => content,
  // The oldest first: the rest goes with the next report.
  (content) => ({ ...content, events: upTo(content.events, 256 * 1024) }),
  (content) => ({
    ...content,
    livepatches: content.livepatches.map((it) => ({ ...it, objects: it.objects.slice(0, 20) })),
  }),
  (content) => withTrouble(content, ({ blockers, ...trouble }) => ({ ...trouble, blockers: blockers.map(shallow) })),
  (content) =>
    withTrouble(content, ({ blockers, quarantined, ...trouble }) => ({
      ...trouble,
      blockers: blockers.slice(0, 4),
      quarantined: quarantined.slice(-10),
    })),
  ({ stack: _, ...content }) => content,
];

/** A report that the server takes: it refuses what is larger than `MAX_REPORT`, and would hear nothing of this host. */
export function fitReport(content: ReportContent): ReportContent {
  let fit = content;
  for (const step of STEPS) {
    fit = step(fit);
    if (bytesOf(fit) <= MOST) return fit;
  }
  return fit;
}

function upTo(events: readonly HostEvent[], most: number): HostEvent[] {
  let bytes = 0;
  return events.filter((event) => {
    bytes += bytesOf(event);
    return bytes <= most;
  });
}

function withTrouble(
  content: ReportContent,
  change: (trouble: NonNullable<ReportContent['trouble']>) => NonNullable<ReportContent['trouble']>,
): ReportContent {
  return content.trouble === undefined ? content : { ...content, trouble: change(content.trouble) };
}

function shallow<T extends { readonly stack: readonly string[] }>(blocker: T): T {
  return { ...blocker, stack: blocker.stack.slice(0, 8) };
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
