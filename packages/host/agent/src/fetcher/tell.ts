import { parseJson } from '@kmend/base';
import { paths } from '../edges/paths.ts';
import type { Fetcher } from './context.ts';
import { IdleState } from './idle-state.ts';
import { reportIfDue } from './reporter.ts';

/**
 * Reports what the loader did by itself, without a check: the loader asks for this when something happened while no
 * command waited.
 */
export async function tellNews(fetcher: Fetcher, signal: AbortSignal): Promise<void> {
  const told = await reportIfDue(fetcher, signal);
  const { files } = fetcher.edges;
  const text = await files.text(paths.idle);
  const idle = IdleState.safeParse(text === undefined ? undefined : parseJson(text)).data;
  if (idle === undefined || idle.told === told) return;
  const next: IdleState = { ...idle, told, reportAt: fetcher.reports.value.dueAt };
  await files.writeAtomic(paths.idle, `${JSON.stringify(next)}\n`, 0o600);
}
