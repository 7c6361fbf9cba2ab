import { HostId, Timestamp } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { openStored, readStored, type Stored } from '../observed/stored.ts';

/** What the fetcher has to remember of its reports over a restart. */
export const ReportState = z.object({
  schema: z.literal('kmend.agent-reports/1'),
  /** Sequence number of the last report sent or tried. */
  sequence: z.int().min(0),
  /** Number of the last event of the loader's journal that the server has. */
  sent: z.int().min(0),
  /** Digest of what the last report said without its events; `null` before the first. */
  digest: z.string().max(64).nullable(),
  /**
   * The server's own refusal of the last report (it forgot this host, revoked its token, …); `null`: it took it, or was
   * not reached.
   */
  refusal: z
    .object({ code: z.string().max(64), message: z.string().max(1000), at: Timestamp })
    .nullable()
    .default(null),
  /** Tries in a row that did not reach the server. */
  failures: z.int().min(0),
  /** When the next regular report, or the next try, is due: milliseconds since 1970. */
  dueAt: z.number().min(0),
  /** Which host reported so; another one, after `enrol --again`, reports at once. */
  host: HostId.nullable().default(null),
});
export type ReportState = z.infer<typeof ReportState>;
export type ReportStateStore = Stored<ReportState>;

const empty: ReportState = {
  schema: 'kmend.agent-reports/1',
  sequence: 0,
  sent: 0,
  digest: null,
  refusal: null,
  failures: 0,
  dueAt: 0,
  host: null,
};

const place = { path: paths.reports, schema: ReportState, empty };

export const openReportState = (edges: Edges): Promise<ReportStateStore> =>
  openStored(edges, { ...place, mode: 0o600 });

/** For readers only. */
export const readReportState = (edges: Edges): Promise<ReportState> => readStored<ReportState>(edges, place);
