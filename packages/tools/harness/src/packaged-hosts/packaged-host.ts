import type { GuestResult, Host } from '@kmend/lab';
import { LivepatchMeasure, LivepatchStatus } from '@kmend/protocol';
import type * as z from 'zod';

/** What a host of these tests has beside the lab's: Debian's own automatic upgrades. */
export const HOST_PACKAGES = ['unattended-upgrades', 'gpgv'] as const;

const MINUTES = 60_000;
/** apt-get without questions. */
export const APT = ['env', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C.UTF-8', 'apt-get', '--yes', '-q'] as const;

/** A Debian host that has its livepatches from the package manager alone. */
export class PackagedHost {
  readonly host: Host;

  constructor(host: Host) {
    this.host = host;
  }

  /**
   * Follows a repository by the very text that an administrator copies; Debian's own repositories are out of reach in
   * the lab.
   */
  async follow(snippet: string): Promise<void> {
    await this.host.check('rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*');
    await this.host.check(snippet, { timeoutMs: 5 * MINUTES });
  }

  /** `apt-get WORDS`, whatever it ends with. */
  async apt(...words: string[]): Promise<GuestResult> {
    return await this.host.run([...APT, ...words], { timeoutMs: 10 * MINUTES });
  }

  /** The same, which has to succeed. */
  async mustApt(...words: string[]): Promise<string> {
    return await this.host.check([...APT, ...words], { timeoutMs: 10 * MINUTES });
  }

  /**
   * What Debian's timers do each day, now: fresh indices, then whatever unattended-upgrades is allowed to take. Its
   * log.
   */
  async automaticUpgrade(): Promise<string> {
    await this.host.check('systemctl start apt-daily.service && systemctl start apt-daily-upgrade.service', {
      timeoutMs: 15 * MINUTES,
    });
    return await this.host.check('cat /var/log/unattended-upgrades/unattended-upgrades.log');
  }

  async livepatch(...words: string[]): Promise<GuestResult> {
    return await this.host.run(['kmend-livepatch', ...words], { timeoutMs: 5 * MINUTES });
  }

  async status(): Promise<z.infer<typeof LivepatchStatus>> {
    const { stdout } = await this.livepatch('status', '--json');
    return LivepatchStatus.parse(JSON.parse(stdout));
  }

  async measure(): Promise<z.infer<typeof LivepatchMeasure>> {
    const { stdout } = await this.livepatch('measure', '--json');
    return LivepatchMeasure.parse(JSON.parse(stdout));
  }

  /** Fixes in force for every task, from the bottom of the stack. */
  async fixes(): Promise<string[]> {
    return fixesIn(await this.status());
  }

  /** Enabled livepatches as the kernel shows them. */
  async enabled(): Promise<string[]> {
    const text = await this.host.check(
      'for d in /sys/kernel/livepatch/*/; do [ -d "$d" ] && [ "$(cat "$d/enabled")" = 1 ] && basename "$d"; done; :',
    );
    return text.split('\n').filter((name) => name !== '');
  }

  /** Packages that dpkg does not have in order; empty: all is well. */
  async unconfigured(): Promise<string> {
    return await this.host.check(
      'dpkg -l | awk \'/^[a-z]/ && $1 != "ii" && $1 != "rc" && $1 != "hi" { print $1, $2 }\'; dpkg --audit',
    );
  }
}

/** Fixes in force for every task, from the bottom of the stack: a status takes an emulated host seconds to tell. */
export function fixesIn({ inForce }: Pick<z.infer<typeof LivepatchStatus>, 'inForce'>): string[] {
  return inForce.filter(({ phase }) => phase !== 'transition').flatMap((it) => it.fixes.map(({ id }) => id));
}
