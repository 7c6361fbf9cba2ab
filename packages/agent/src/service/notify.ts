import type { Run } from '@kmend/base';

/** Tells systemd that the service is up (sd_notify(3); Node has no datagram sockets of the unix kind). No-op outside systemd. */
export async function notifyReady(run: Run, socket: string | undefined, status: string): Promise<void> {
  if (socket === undefined) return;
  await run('/usr/bin/systemd-notify', ['--ready', `--status=${status}`], {
    env: { NOTIFY_SOCKET: socket, PATH: '/usr/bin:/bin' },
    timeoutMs: 10_000,
  });
}
