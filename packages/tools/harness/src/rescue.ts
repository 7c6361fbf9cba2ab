/** What a guest's boot that ends elsewhere than in multi-user.target leaves of itself. */
export const BOOT_MARK = '/root/lab-boot';

/** Where a guest has the unit that ends such a boot. */
export const ENDING_UNIT = '/etc/systemd/system/lab-end.service';

/** The unit: writes down which livepatches there are (`booted`, then their names), and ends the boot by a command. */
export function endingUnit(command: string): string {
  return `[Unit]
DefaultDependencies=no
After=sysinit.target kmend-agent-boot.service kmend-livepatch.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm -f /system-update; { echo booted; ls /sys/kernel/livepatch; } >${BOOT_MARK}; sync; ${command}'
`;
}

/** A command that has a target start the unit: systemd takes links alone there. */
export function endIn(target: string): string {
  const wants = `/etc/systemd/system/${target}.wants`;
  return `mkdir -p ${wants} && ln -s ../lab-end.service ${wants}/ && sync`;
}
