import type { Clock } from '@kmend/base';
import type { PackageFormat } from '@kmend/protocol/packages';
import type { Repository } from '@kmend/trust';
import type { DiskProbe } from '../disk.ts';
import type { HostTimes } from '../fleet/presence.ts';
import type { PackageRepository } from '../package-repository/package-repository.ts';
import type { Database } from '../store/store.ts';
import type { Limiter } from './limits.ts';
import type { ReportWriter } from './report-writer.ts';
import type { UnchangedReports } from './unchanged-reports.ts';

/** What the routes work with. */
export interface AppContext {
  readonly store: Database;
  readonly repository: Repository;
  /** Directory of the repository's static files. */
  readonly repositoryDirectory: string;
  /** Directory for files uploaded and not published yet. */
  readonly uploads: string;
  readonly packages: Readonly<Record<PackageFormat, PackageRepository>>;
  /** Packages are for anyone, without an activation key. */
  readonly openPackages: boolean;
  readonly operatorToken: string;
  readonly clock: Clock;
  readonly times: HostTimes;
  readonly disk: DiskProbe;
  readonly unchanged: UnchangedReports;
  readonly writer: ReportWriter;
  /** Failed authentications, by address. */
  readonly failures: Limiter;
  /** Reports, by host. */
  readonly reports: Limiter;
}
