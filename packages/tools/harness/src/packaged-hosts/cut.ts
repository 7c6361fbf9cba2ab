import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@kmend/lab';

const LOGGER = '/usr/local/sbin/lab-cut';
const SAID = 'lab-cut: ';
const PATIENCE_MS = 300_000;

/**
 * Cuts a host's power in the middle of a run of dpkg: at the first line of its status log that fits a pattern of the
 * shell (dpkg(1), --status-fd), dpkg and what it has started stand still, and QEMU is killed. `command` runs dpkg. The
 * line it stood at; it is off afterwards.
 */
export async function cutAt(host: Host, pattern: string, command: readonly string[]): Promise<string> {
  const script = `#!/bin/sh
while read -r line; do
  case $line in
    ${pattern}) pkill -STOP -x dpkg; pkill -STOP -f kmend-livepatch; echo "${SAID}$line" >/dev/console; exec sleep 600 ;;
  esac
done
`;
  await host.copyIn(Buffer.from(script), LOGGER, 0o755);
  await host.copyIn(Buffer.from(`status-logger=${LOGGER}\n`), '/etc/dpkg/dpkg.cfg.d/lab-cut');
  const from = host.console().length;
  let answered = false;
  const run = host.run(command, { timeoutMs: PATIENCE_MS }).then(
    () => {
      answered = true;
    },
    () => {},
  );
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until && !answered; await sleep(20)) {
    const [, line] = new RegExp(`${SAID}(.*)`).exec(host.console().slice(from)) ?? [];
    if (line === undefined) continue;
    await host.powerOffHard();
    await run;
    return line.trim();
  }
  throw new Error(`dpkg never came to ${pattern}`);
}

/** dpkg runs through again. */
export async function uncut(host: Host): Promise<void> {
  await host.check('rm -f /etc/dpkg/dpkg.cfg.d/lab-cut');
}
