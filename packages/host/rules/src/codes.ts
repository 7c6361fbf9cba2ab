/**
 * Codes of the packages' loader. `docs/packages.md` explains the same ones (a test compares).
 * - `outcome`: how a run ended where nothing failed
 * - `passing`: barred for a while; kmend-livepatch-retry.service tries again
 * - `remark`: told, but nothing failed
 * - `warning`: `status` shows it; nothing failed, but an administrator should look at it
 * - `failed`: stays until its cause is removed
 */
export type PackageCodeWeight = 'outcome' | 'passing' | 'remark' | 'warning' | 'failed';

export interface PackageCodeRule {
  readonly weight: PackageCodeWeight;
  /** The way out, for people; empty where there is nothing to do. */
  readonly hint: string;
}

const outcome = (hint = ''): PackageCodeRule => ({ weight: 'outcome', hint });
const passing = (hint: string): PackageCodeRule => ({ weight: 'passing', hint });
const remark = (hint: string): PackageCodeRule => ({ weight: 'remark', hint });
const warning = (hint: string): PackageCodeRule => ({ weight: 'warning', hint });
const failed = (hint: string): PackageCodeRule => ({ weight: 'failed', hint });

export const packageCodes = {
  // How a run ended.
  'in-force': outcome(),
  'none-installed': outcome(),
  'not-needed': outcome(),
  'other-kernel': outcome('boot the kernel it is for, or install the metapackage of this kernel or of its flavour'),
  held: outcome('kmend-livepatch resume'),
  yielded: outcome('the agent drives this host; kmend-livepatch take gives it back to the packages'),
  'switched-off': outcome(
    'remove kmend=off from the kernel command line, or /etc/kmend-livepatch/off; then kmend-livepatch sync',
  ),
  // What status warns of.
  'next-kernel-bare': warning(
    'install the package of the flavour (livepatch-amd64), which follows every kernel; else its publisher has none yet',
  ),
  'stack-deep': warning('install the cumulative livepatch in place of the stack, or boot the newest kernel'),
  // The command.
  usage: failed('kmend-livepatch --help'),
  'not-root': failed('run it as root, for example with sudo'),
  busy: passing('another kmend-livepatch runs; the loader tries again'),
  interrupted: passing('kmend-livepatch sync continues'),
  // The host.
  'kernel-unknown': failed('check that /sys and /proc are mounted'),
  'capture-kernel': failed('nothing to do: the loader continues at the next boot'),
  'foreign-kernel': failed('livepatches are loaded by the host itself, at its boot'),
  'modules-disabled': failed(
    'it is loaded at the next boot, unless the sysctl is set before kmend-livepatch.service: set it later in the boot',
  ),
  'kernel-without-livepatch': failed('boot a kernel built with CONFIG_LIVEPATCH'),
  'kernel-tainted': failed('the kernel log says what happened; reboot'),
  'memory-low': passing('free some memory; the loader tries again'),
  'disk-full': passing('free space; the loader tries again'),
  'disk-read-only': passing('mount it for writing; the loader tries again'),
  'disk-failing': passing('see dmesg; check or replace the disk; the loader tries again'),
  'tool-failed': passing('are gpgv, kmod and util-linux installed? too many processes? The loader tries again'),
  'state-damaged': failed('it was moved to state.damaged, and a new one was begun; check the disk'),
  'config-invalid': remark('correct /etc/kmend-livepatch/config; until then the defaults apply'),
  'state-newer': failed('a later version of kmend-livepatch wrote it: install that version again'),
  // What is installed.
  'key-missing': failed('install the package kmend-livepatch again'),
  'package-incomplete': failed('an interrupted upgrade? dpkg --configure -a, then install the package again'),
  'manifest-too-large': failed('install the package again; if that does not help, inform its publisher'),
  'manifest-garbage': failed('install the package again; if that does not help, inform its publisher'),
  'livepatch-damaged': failed('install the package again; if that does not help, inform its publisher'),
  'signature-wrong': failed("install it again from the owner's repository, or kmend-livepatch with the new key"),
  'below-missing': failed('install what it stands on, or see the problem of that package'),
  'removed-but-needed': remark('it is reverted when nothing stands on it or waits to replace it any more'),
  quarantined: failed('install a newer package of it, or try the same one again: kmend-livepatch resume'),
  crashed: failed(
    'see /sys/fs/pstore and /var/lib/systemd/pstore; install a newer package of it, or kmend-livepatch resume',
  ),
  // Others on this kernel.
  'conflict-agent': passing(
    'use one strategy a host: kmend-livepatch yield, or remove the agent; the loader tries again',
  ),
  'conflict-livepatch': passing('remove that livepatch, and what loads it; the loader tries again'),
  'conflict-module': passing('see what holds it (lsmod); a reboot clears it; the loader tries again'),
  'conflict-ftrace': passing(
    'stop that tracer (/sys/kernel/tracing/enabled_functions), or sysctl kernel.ftrace_enabled=1; the loader tries again',
  ),
  'conflict-kprobe': passing(
    'remove that probe (/sys/kernel/debug/kprobes/list), and set it anew afterwards; the loader tries again',
  ),
  'conflict-transition': passing('wait for the other transition; the loader tries again'),
  // The kernel's answer.
  'load-refused': failed('see dmesg; install a newer package of it, or kmend-livepatch resume'),
  'load-failed': failed('find out what disabled it; then kmend-livepatch resume'),
  'load-hung': passing('see dmesg: what does the kernel wait for? The loader tries again; else reboot'),
  'kernel-complaint': failed(
    'see dmesg and the kernel log in status; install a newer package of it, or kmend-livepatch resume',
  ),
  'log-unreadable': remark('is dmesg installed, and may root read the log? Livepatches are loaded all the same'),
  'module-refused': failed('the kernel takes only modules signed with a key it trusts, or none any more (lockdown)'),
  'transition-stuck': passing('restart the tasks that are named, or wait; never force. The loader tries again'),
  deferred: passing('restart the tasks that were named, then kmend-livepatch resume; else the loader tries again'),
  'revert-failed': passing('see dmesg; the loader tries again; a reboot clears it'),
  unfinished: passing('the loader does the rest within minutes'),
} as const satisfies Readonly<Record<string, PackageCodeRule>>;

export type PackageCode = keyof typeof packageCodes;
