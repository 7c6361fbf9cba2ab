import { IMAGE, MOUNT_IMAGE, OTHER_MACHINE, UNMOUNT_IMAGE } from '@kmend/harness';
import { layout } from '../faults/layout.ts';
import type { Finding } from '../judge.ts';
import type { Life } from '../life.ts';
import type { Observation } from '../observe.ts';
import type { Rig } from '../rig.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { LONG_SOAK_S, unquarantined, wrong } from './boots.ts';
import { outcome } from './clock.ts';

/** What the image holds of the agent comes onto this host's disk: it is booted. */
const FLASH = `set -e
systemctl stop ${[...layout.resident, ...layout.acting].join(' ')}
for d in /etc/kmend-agent ${layout.state}; do rm -rf $d; [ ! -e ${IMAGE}$d ] || cp -a ${IMAGE}$d $d; done
${UNMOUNT_IMAGE} && umount /srv/upper && rm /srv/image.ext4
${OTHER_MACHINE}`;

/** Commands that would have the running kernel patched, of a chroot. */
const ORDERS = [
  'check',
  'apply',
  'boot',
  'loader',
  'enrol --server http://127.0.0.1:9 --allow-plain-http --key-file /root/activation-key --root /root/root.json',
];

/**
 * In a chroot of an image the package is used with the state of an enrolled host, removed, and installed again; then
 * the image is booted, and enrolled there.
 */
export function chrootRound(rig: Rig, life: Life): Round {
  const id = 'chroot';
  return { id, run: () => inChroot(rig, life, id) };
}

async function inChroot(rig: Rig, life: Life, id: string): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('load', 'check');
  return await judged(life, id, async () => {
    await host.check(MOUNT_IMAGE, { timeoutMs: 120_000 });
    const chroot = (command: string) => host.run(`chroot ${IMAGE} ${command}`, { timeoutMs: 180_000 });
    const said: string[] = [];
    const found: Finding[] = [];
    const order = async (): Promise<void> => {
      for (const words of ORDERS) {
        const { exitCode, stdout, stderr } = await chroot(`timeout 60 kmend-agent ${words} --json`);
        const told = `${stdout}${stderr}`;
        said.push(/foreign-kernel|not-enrolled/.exec(told)?.[0] ?? outcome(stdout));
        if (exitCode === 0 && !/foreign-kernel/.test(told))
          found.push(wrong(`in a chroot "${words}" succeeded: ${told}`));
      }
    };
    await order();
    for (const words of ['--purge kmend-agent', '--install /root/kmend-agent.deb']) {
      const { exitCode, stderr } = await chroot(`dpkg ${words}`);
      if (exitCode !== 0) found.push(wrong(`in a chroot dpkg ${words} ended with ${exitCode}: ${stderr.slice(-500)}`));
    }
    await order();
    const during = await life.look();
    if (during.after.length > 0) found.push(wrong(`the host has ${JSON.stringify(during.after)}`));
    await life.untilActive();
    await host.check(FLASH);
    await host.reboot();
    const booted = await life.look();
    if (booted.after.length > 0) found.push(wrong(`the image's first boot has ${JSON.stringify(booted.after)}`));
    found.push(...unquarantined(booted));
    await rig.enrol(life.guest);
    const last = await checked(life);
    return { what: said.join(', '), struck: true, seen: [during, booted], last, found, mayNeedPerson: false };
  });
}

/**
 * The image was made of an enrolled machine in the middle of a soak: on another machine nothing of that state counts.
 */
export function cloneRound(rig: Rig, life: Life): Round {
  const id = 'other-machine';
  return { id, run: () => onOtherMachine(rig, life, id) };
}

async function onOtherMachine(rig: Rig, life: Life, id: string): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring('boot', 'check');
  await life.configure({ soakSeconds: LONG_SOAK_S });
  await host.reboot();
  return await judged(life, id, async () => {
    await host.check(OTHER_MACHINE);
    await host.powerOffHard();
    await host.start();
    const booted = await life.look();
    const said = outcome((await life.ask('check')).stdout);
    const found = unquarantined(booted);
    if (said !== 'other-machine') found.push(wrong(`said ${said}`));
    if (booted.after.length > 0) found.push(wrong(`its first boot has ${JSON.stringify(booted.after)}`));
    await rig.enrol(life.guest, '--again');
    const last = await checked(life);
    return { what: said, struck: true, seen: [booted], last, found, mayNeedPerson: false };
  });
}

async function checked(life: Life): Promise<Observation> {
  await life.ask('check');
  return await life.heal(true);
}
