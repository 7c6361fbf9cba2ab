import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Finding } from '../judge.ts';
import type { Life } from '../life.ts';
import type { Rig } from '../rig.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { LONG_SOAK_S, wrong } from './boots.ts';

/** Of an emulated guest's memory: enough for a whole Debian. */
const RESERVED = 'crashkernel=256M';
const MARK = '/root/lab-capture';
const DONE = 'lab-capture: done';
const PATIENCE_S = 240;

/** As kdump-tools does it: in the capture kernel the whole system comes up, a unit writes the dump, and reboots. */
const CAPTURE = `[Unit]
ConditionPathExists=/proc/vmcore
After=kmend-agent.service kmend-loader.service kmend-agent-boot-late.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c '{ echo captured; systemctl is-active "kmend-*.service"; } >${MARK}; ls /sys/kernel/livepatch >>${MARK}; sync; echo ${DONE} >/dev/console; systemctl --no-block reboot'
[Install]
WantedBy=multi-user.target
`;

/**
 * The kernel crashes, a real capture kernel (kexec) boots the same disk, and then the host's own kernel comes up again.
 */
export function captureRound(rig: Rig, life: Life, when: 'good' | 'soak'): Round {
  const id = `capture/${when}`;
  return { id, run: () => captured(rig, life, id, when) };
}

async function captured(rig: Rig, life: Life, id: string, when: 'good' | 'soak'): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  if (when === 'soak') await life.configure({ soakSeconds: LONG_SOAK_S });
  await host.copyIn(Buffer.from(CAPTURE), '/etc/systemd/system/lab-capture.service');
  await host.check('systemctl enable lab-capture.service && sync');
  await host.shutdown();
  await host.start({ kernelArguments: [RESERVED] });
  await life.heal(true);
  await layCrashKernel(rig, life);
  const begun = await life.look();
  return await judged(life, id, async () => {
    const from = host.console().length;
    await host.rebootBy(async () => {
      await host.run('echo c >/proc/sysrq-trigger').catch(() => undefined);
      for (let left = PATIENCE_S; left > 0 && !host.console().slice(from).includes(DONE); left -= 1) await sleep(1_000);
    });
    const mark = await host.check(`cat ${MARK} 2>/dev/null || :`);
    const booted = await life.look();
    const last = await life.heal();
    return {
      what: `a panic while it is ${begun.claims?.state}, with a capture kernel`,
      struck: mark !== '' && begun.claims?.state === when,
      seen: [booted],
      last,
      found: idleThere(mark),
      mayNeedPerson: false,
    };
  });
}

/**
 * In the capture kernel no unit of the agent is at work, and no livepatch is there. `mark`: `captured`, what is-active
 * says, and names.
 */
export function idleThere(mark: string): Finding[] {
  const busy = mark
    .split('\n')
    .slice(1)
    .filter((line) => line !== '' && line !== 'inactive');
  return busy.length === 0 ? [] : [wrong(`in the capture kernel there was ${busy.join(' ')}`)];
}

async function layCrashKernel(rig: Rig, life: Life): Promise<void> {
  const { host } = life.guest;
  const { vmlinuz, initramfs } = await rig.lab.bootFiles(rig.kernel);
  const program = await rig.lab.reproducer('crash-kernel', join(import.meta.dirname, '..', 'faults', 'crash-kernel.c'));
  await host.copyIn(program, '/root/crash-kernel', 0o755);
  await host.copyIn(vmlinuz, '/root/vmlinuz');
  await host.copyIn(initramfs, '/root/initramfs');
  await host.check(
    `/root/crash-kernel /root/vmlinuz /root/initramfs "$(sed 's/crashkernel=[^ ]*//' /proc/cmdline) maxcpus=1 reset_devices"`,
  );
}
