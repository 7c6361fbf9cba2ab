import type { Report } from '@kmend/protocol';
import { ServerError } from '../error.ts';
import { judgeReport, type Verdict } from '../fleet/ingest.ts';
import type { KnownHost } from '../store/hosts.ts';
import { noteRefusal } from '../store/reports.ts';
import type { AppContext } from './context.ts';

/** Takes a report, sent or carried here; `at`: when the host said so. Throws `sequence-jump`. */
export async function takeReport(
  context: Pick<AppContext, 'store' | 'unchanged' | 'writer' | 'clock'>,
  host: KnownHost,
  report: Report,
  at: string,
): Promise<Verdict> {
  const waiting = context.unchanged.of(host.id);
  const verdict = judgeReport(host, waiting, report);
  if (verdict.kind === 'same') {
    context.unchanged.add(host.id, { sequence: report.sequence, at, reportAt: report.at });
    return verdict;
  }
  // Judged again when it is written: another one may have arrived meanwhile.
  const last = verdict.kind === 'news' ? await context.writer.write({ hostId: host.id, report, at, waiting }) : verdict;
  if (last.kind !== 'number-jumps') return last;
  const { sequence } = report;
  const message = `report ${sequence} was refused: the newest is ${last.newest}`;
  await noteRefusal(context.store, host.id, context.clock.now(), message);
  throw new ServerError(
    'sequence-jump',
    `the report's number, ${sequence}, is too far above the newest one, ${last.newest}`,
    {
      hint: 'another machine may use this host’s token, or the host’s state is damaged: ask the operator for kmend host show and kmend host reset',
    },
  );
}
