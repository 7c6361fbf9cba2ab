import type { Generated } from 'kysely';

/** Tables as Kysely knows them. Times are ISO 8601 in UTC, truth values 0 and 1, JSON is text. */
export interface Tables {
  readonly activation_keys: ActivationKeyTable;
  readonly hosts: HostTable;
  readonly host_events: HostEventTable;
  readonly livepatches: LivepatchTable;
  readonly package_hosts: PackageHostTable;
  readonly host_boots: HostBootTable;
  readonly removed_hosts: RemovedHostTable;
}

interface ActivationKeyTable {
  readonly id: string;
  readonly name: string;
  /** SHA-256 of the key. */
  readonly hash: string;
  readonly channel: string;
  readonly seats: number | null;
  readonly expires: string | null;
  readonly revoked: number;
  readonly created: string;
}

interface HostTable {
  readonly id: string;
  readonly key_id: string;
  /** SHA-256 of the bearer token. */
  readonly token_hash: string;
  readonly hostname: string;
  readonly release: string;
  readonly build_id: string;
  readonly channel: string;
  readonly enrolled: string;
  readonly last_report: string | null;
  /** Sequence of the newest report; 0 before the first. */
  readonly sequence: number;
  /** SHA-256 of what the newest report said, without its time and sequence. */
  readonly digest: string | null;
  readonly effective_serial: number | null;
  readonly facts: string;
  readonly status: string;
  readonly livepatches: string;
  /** HostTrouble; `null` before the first report, and of agents that do not tell. */
  readonly trouble: string | null;
  /** HostStack; `null` if the host reported no packages' loader. */
  readonly stack: string | null;
  /** `machineId` and `bootId` of the newest facts, to be compared. */
  readonly machine: string | null;
  readonly boot_id: string | null;
  /** When the newest report was written, by the host's own clock. */
  readonly report_at: string | null;
  /** When a report was last refused for its number. */
  readonly refused: string | null;
  /** Host under which the same machine enrolled again; `null` as long as this one reports. */
  readonly replaced_by: string | null;
  /**
   * `trouble.reason` again, and the release that a reboot brings: '' where it brings none, `null` where the agent does
   * not tell.
   */
  readonly reason: string | null;
  readonly next_kernel: string | null;
  /** The five axes again, for counting. */
  readonly contact: string;
  readonly coverage: string;
  readonly loaded: string;
  readonly transition: string;
  readonly verified: string;
}

interface HostEventTable {
  readonly id: Generated<number>;
  readonly host_id: string;
  readonly at: string;
  readonly code: string;
  readonly message: string;
  readonly serial: number | null;
}

interface LivepatchTable {
  readonly build_id: string;
  readonly serial: number;
  readonly release: string;
  readonly published: string;
  /** LivepatchTarget. */
  readonly target: string;
  /** FixSummary[]. */
  readonly fixes: string;
}

/** Machines that fetch packages; they do not enrol. */
interface PackageHostTable {
  readonly key_id: string;
  /** What the machine calls itself. */
  readonly label: string;
  readonly first_seen: string;
  readonly last_seen: string;
}

/** Boots that reported as a host, beside its newest one. */
interface HostBootTable {
  readonly host_id: string;
  readonly boot_id: string;
  readonly machine: string | null;
  readonly hostname: string;
  readonly release: string;
  readonly serial: number | null;
  readonly last_seen: string;
  /** 1: it and another one reported in turns, which no single machine does. */
  readonly returned: number;
}

/** Tokens of removed hosts: a host that still sends one learns that it was removed. */
interface RemovedHostTable {
  readonly token_hash: string;
  readonly host_id: string;
  readonly hostname: string;
  readonly removed: string;
}
