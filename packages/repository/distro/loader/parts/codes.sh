# shellcheck shell=dash
# Every code, with the way out. docs/packages.md explains the same ones (a test compares).

hint_of() {
  case $1 in
    # How it ended.
    in-force | none-installed | not-needed) ;;
    other-kernel) echo 'what is installed is for another kernel: boot that one, or install the metapackage of this one, or of its flavour' ;;
    next-kernel-bare) echo 'install the package of its flavour (livepatch-amd64), which follows every kernel; has it that, its publisher has none yet' ;;
    held) echo 'kmend-livepatch resume' ;;
    yielded) echo 'the agent drives this host; kmend-livepatch take gives it back to the packages' ;;
    switched-off) echo "take kmend=off from the kernel's command line, or remove /etc/kmend-livepatch/off; then kmend-livepatch sync" ;;
    # The command.
    usage) echo 'kmend-livepatch --help' ;;
    not-root) echo 'only root may ask: sudo' ;;
    busy) echo 'another kmend-livepatch is at work: it is tried again by itself' ;;
    interrupted) echo 'kmend-livepatch sync goes on from there' ;;
    # The host.
    kernel-unknown) echo 'the kernel does not say its build id or boot id: are /sys and /proc mounted?' ;;
    capture-kernel) echo 'nothing to do: the loader goes on at the next boot' ;;
    foreign-kernel) echo 'livepatches are loaded by the host itself, at its boot' ;;
    modules-disabled) echo 'it is loaded at the next boot, unless the sysctl is set before kmend-livepatch.service: set it later in the boot' ;;
    kernel-without-livepatch) echo 'boot a kernel built with CONFIG_LIVEPATCH' ;;
    kernel-tainted) echo 'the kernel log says what happened; reboot' ;;
    memory-low) echo 'free some memory; it is tried again by itself' ;;
    disk-full) echo 'free space; it is tried again by itself' ;;
    disk-read-only) echo 'mount it for writing; it is tried again by itself' ;;
    disk-failing) echo 'dmesg; check or replace the disk; it is tried again by itself' ;;
    tool-failed) echo 'are gpgv, kmod and util-linux installed? too many processes? It is tried again by itself' ;;
    state-damaged) echo 'it was moved to state.damaged and begun anew; check the disk' ;;
    config-invalid) echo 'correct /etc/kmend-livepatch/config; the defaults are taken meanwhile' ;;
    state-newer) echo 'a later kmend-livepatch wrote it: install that version again' ;;
    # What is installed.
    key-missing) echo 'install the package kmend-livepatch again' ;;
    package-incomplete) echo 'an interrupted upgrade? dpkg --configure -a, then install the package again' ;;
    manifest-too-large | manifest-garbage | livepatch-damaged) echo 'install the package again; if it stays, tell who publishes it' ;;
    signature-wrong) echo "it is not signed with this host's key: install it again from the owner's repository, or kmend-livepatch with the new key" ;;
    below-missing) echo 'install what it stands on, or see what is said of that' ;;
    removed-but-needed) echo 'it goes when what stands on it, or waits to replace it, is settled' ;;
    quarantined) echo 'a newer package of it, or kmend-livepatch resume to try it again' ;;
    crashed) echo 'see /sys/fs/pstore and /var/lib/systemd/pstore; a newer package of it, or kmend-livepatch resume' ;;
    # Others on this kernel.
    conflict-agent) echo 'one strategy a host: kmend-livepatch yield, or take the agent out of it; it is tried again by itself' ;;
    conflict-livepatch) echo 'take that livepatch out (and what loads it); it is tried again by itself' ;;
    conflict-module) echo 'see what holds it (lsmod), it is tried again by itself; a reboot clears it' ;;
    conflict-ftrace) echo 'stop that tracer (/sys/kernel/tracing/enabled_functions), or sysctl kernel.ftrace_enabled=1; it is tried again by itself' ;;
    conflict-kprobe) echo 'remove that probe (/sys/kernel/debug/kprobes/list), and set it anew afterwards; it is tried again by itself' ;;
    conflict-transition) echo 'another transition is under way; it is tried again by itself' ;;
    # The kernel's answer.
    load-refused) echo 'dmesg; a newer package of it, or kmend-livepatch resume to try it again' ;;
    load-failed) echo 'something else took it out of force: find out what; then kmend-livepatch resume' ;;
    load-hung) echo 'dmesg: what does the kernel wait for? The loader tries again by itself; else reboot' ;;
    kernel-complaint) echo "dmesg; status keeps the kernel's words; a newer package of it, or kmend-livepatch resume to try it again" ;;
    log-unreadable) echo 'is there dmesg, and may root read the log? Livepatches are loaded all the same' ;;
    module-refused) echo 'the kernel takes only modules signed with a key it trusts, or none any more (lockdown)' ;;
    transition-stuck) echo 'restart the tasks that are named, or wait; never force. The loader tries again by itself' ;;
    deferred) echo 'restart the tasks that were named, then kmend-livepatch resume; else it is tried again by itself' ;;
    revert-failed) echo 'dmesg; it is tried again by itself; a reboot' ;;
    unfinished) echo 'the rest is done by itself within minutes' ;;
    stack-deep) echo 'install the cumulative livepatch in place of the stack, or boot the newest kernel' ;;
  esac
}

# Barred for a while only: kmend-livepatch-retry.service tries again.
is_passing() {
  case $1 in
    busy | interrupted | memory-low | disk-full | disk-read-only | disk-failing | tool-failed) return 0 ;;
    conflict-agent | conflict-livepatch | conflict-module | conflict-transition | conflict-ftrace | conflict-kprobe) return 0 ;;
    load-hung | transition-stuck | deferred | revert-failed | unfinished) return 0 ;;
  esac
  return 1
}

# Said, but nothing failed.
is_remark() {
  case $1 in removed-but-needed | config-invalid | log-unreadable) return 0 ;; esac
  return 1
}
