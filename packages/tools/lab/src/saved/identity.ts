import { randomBytes } from 'node:crypto';
import type { Clock } from '@kmend/base';
import type { Host } from '../host.ts';

/** As much as the kernel's generator holds. */
const SEED_BYTES = 64;
/** _IO('R', 7): the kernel takes what was written to /dev/urandom into account at once (random(4)). */
const RNDRESEEDCRNG = 0x5207;

/** Arguments: time (seconds since 1970), host name, machine id. Standard input: bytes that no other machine has. */
const SCRIPT = `set -eu
perl -e 'open(my $r, "+>", "/dev/urandom") or die $!;
  read(STDIN, my $seed, ${SEED_BYTES}) == ${SEED_BYTES} or die "no seed";
  syswrite($r, $seed) == ${SEED_BYTES} or die $!;
  ioctl($r, ${RNDRESEEDCRNG}, 0) or die $!;'
date -u -s "@$1" >/dev/null
echo "$2" >/proc/sys/kernel/hostname
before=$(cat /etc/machine-id)
echo "$3" >/etc/machine-id
for journal in /run/log/journal /var/log/journal; do
  # systemd 257 takes the machine's UUID at the first boot, and has it already where that one was given.
  if [ "$before" != "$3" ] && [ -d "$journal/$before" ]; then mv "$journal/$before" "$journal/$3"; fi
done
systemctl restart systemd-journald
sync /etc/machine-id
`;

/**
 * Makes a machine that was just restored one of its own: no two share what comes out of the kernel's random generator,
 * machine id, or name, and its clock says the time of day.
 */
export async function takeIdentity(host: Host, uuid: string, clock: Clock): Promise<void> {
  const seconds = Math.round(clock.now().getTime() / 1000);
  const args = [String(seconds), host.name, uuid.replaceAll('-', '')];
  await host.check(['sh', '-c', SCRIPT, 'sh', ...args], { stdin: randomBytes(SEED_BYTES) });
}
