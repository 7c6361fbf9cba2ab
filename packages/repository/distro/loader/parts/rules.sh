# shellcheck shell=dash disable=SC2016,SC2034
# Generated from the tables of packages/host/rules by packages/repository/distro/loader/generate.ts: do not edit.
# script/check --fix writes it again.
# SC2016: awk programs. SC2034: other parts use these.

taint_refusing=16570
memory_copies=4
memory_per_function=8192
memory_floor=33554432
soak_seconds=900
take_back_seconds=900
pause_seconds=900
longest_pause_seconds=21600
insmod_seconds=60
wait_limit=6000
boot_wait_limit=3000
unload_limit=1000
package_deadline_seconds=600
boot_deadline_seconds=120
lock_seconds=60
package_lock_seconds=120
shutdown_lock_seconds=20
most_cuts=2
depth_limit=20
state_limit=1048576
state_good=1000
state_trusted=1000
state_quarantined=200
state_problems=200
manifest_limit=262144
listing_limit=32000000
claim_limit=256

first_pid_namespace='pid:[4026531836]'
whole_uid_map='0 0 4294967295'
capture_mark='/proc/vmcore'
container_marks='/run/systemd/container /.dockerenv /run/.containerenv'
claim_header='kmend-agent-claim 1'

# Every code, with the way out.
hint_of() {
  case $1 in
    other-kernel) echo 'boot the kernel it is for, or install the metapackage of this kernel or of its flavour' ;;
    held) echo 'kmend-livepatch resume' ;;
    yielded) echo 'the agent drives this host; kmend-livepatch take gives it back to the packages' ;;
    switched-off) echo 'remove kmend=off from the kernel command line, or /etc/kmend-livepatch/off; then kmend-livepatch sync' ;;
    next-kernel-bare) echo 'install the package of the flavour (livepatch-amd64), which follows every kernel; else its publisher has none yet' ;;
    stack-deep) echo 'install the cumulative livepatch in place of the stack, or boot the newest kernel' ;;
    usage) echo 'kmend-livepatch --help' ;;
    not-root) echo 'run it as root, for example with sudo' ;;
    busy) echo 'another kmend-livepatch runs; the loader tries again' ;;
    interrupted) echo 'kmend-livepatch sync continues' ;;
    kernel-unknown) echo 'check that /sys and /proc are mounted' ;;
    capture-kernel) echo 'nothing to do: the loader continues at the next boot' ;;
    foreign-kernel) echo 'livepatches are loaded by the host itself, at its boot' ;;
    modules-disabled) echo 'it is loaded at the next boot, unless the sysctl is set before kmend-livepatch.service: set it later in the boot' ;;
    kernel-without-livepatch) echo 'boot a kernel built with CONFIG_LIVEPATCH' ;;
    kernel-tainted) echo 'the kernel log says what happened; reboot' ;;
    memory-low) echo 'free some memory; the loader tries again' ;;
    disk-full) echo 'free space; the loader tries again' ;;
    disk-read-only) echo 'mount it for writing; the loader tries again' ;;
    disk-failing) echo 'see dmesg; check or replace the disk; the loader tries again' ;;
    tool-failed) echo 'are gpgv, kmod and util-linux installed? too many processes? The loader tries again' ;;
    state-damaged) echo 'it was moved to state.damaged, and a new one was begun; check the disk' ;;
    config-invalid) echo 'correct /etc/kmend-livepatch/config; until then the defaults apply' ;;
    state-newer) echo 'a later version of kmend-livepatch wrote it: install that version again' ;;
    key-missing) echo 'install the package kmend-livepatch again' ;;
    package-incomplete) echo 'an interrupted upgrade? dpkg --configure -a, then install the package again' ;;
    manifest-too-large) echo 'install the package again; if that does not help, inform its publisher' ;;
    manifest-garbage) echo 'install the package again; if that does not help, inform its publisher' ;;
    livepatch-damaged) echo 'install the package again; if that does not help, inform its publisher' ;;
    signature-wrong) echo 'install it again from the owner'\''s repository, or kmend-livepatch with the new key' ;;
    below-missing) echo 'install what it stands on, or see the problem of that package' ;;
    removed-but-needed) echo 'it is reverted when nothing stands on it or waits to replace it any more' ;;
    quarantined) echo 'install a newer package of it, or try the same one again: kmend-livepatch resume' ;;
    crashed) echo 'see /sys/fs/pstore and /var/lib/systemd/pstore; install a newer package of it, or kmend-livepatch resume' ;;
    conflict-agent) echo 'use one strategy a host: kmend-livepatch yield, or remove the agent; the loader tries again' ;;
    conflict-livepatch) echo 'remove that livepatch, and what loads it; the loader tries again' ;;
    conflict-module) echo 'see what holds it (lsmod); a reboot clears it; the loader tries again' ;;
    conflict-ftrace) echo 'stop that tracer (/sys/kernel/tracing/enabled_functions), or sysctl kernel.ftrace_enabled=1; the loader tries again' ;;
    conflict-kprobe) echo 'remove that probe (/sys/kernel/debug/kprobes/list), and set it anew afterwards; the loader tries again' ;;
    conflict-transition) echo 'wait for the other transition; the loader tries again' ;;
    load-refused) echo 'see dmesg; install a newer package of it, or kmend-livepatch resume' ;;
    load-failed) echo 'find out what disabled it; then kmend-livepatch resume' ;;
    load-hung) echo 'see dmesg: what does the kernel wait for? The loader tries again; else reboot' ;;
    kernel-complaint) echo 'see dmesg and the kernel log in status; install a newer package of it, or kmend-livepatch resume' ;;
    log-unreadable) echo 'is dmesg installed, and may root read the log? Livepatches are loaded all the same' ;;
    module-refused) echo 'the kernel takes only modules signed with a key it trusts, or none any more (lockdown)' ;;
    transition-stuck) echo 'restart the tasks that are named, or wait; never force. The loader tries again' ;;
    deferred) echo 'restart the tasks that were named, then kmend-livepatch resume; else the loader tries again' ;;
    revert-failed) echo 'see dmesg; the loader tries again; a reboot clears it' ;;
    unfinished) echo 'the loader does the rest within minutes' ;;
  esac
}

# Barred for a while only: kmend-livepatch-retry.service tries again.
is_passing() {
  case $1 in
    busy) return 0 ;;
    interrupted) return 0 ;;
    memory-low) return 0 ;;
    disk-full) return 0 ;;
    disk-read-only) return 0 ;;
    disk-failing) return 0 ;;
    tool-failed) return 0 ;;
    conflict-agent) return 0 ;;
    conflict-livepatch) return 0 ;;
    conflict-module) return 0 ;;
    conflict-ftrace) return 0 ;;
    conflict-kprobe) return 0 ;;
    conflict-transition) return 0 ;;
    load-hung) return 0 ;;
    transition-stuck) return 0 ;;
    deferred) return 0 ;;
    revert-failed) return 0 ;;
    unfinished) return 0 ;;
  esac
  return 1
}

# Told, but nothing failed.
is_remark() {
  case $1 in
    config-invalid) return 0 ;;
    removed-but-needed) return 0 ;;
    log-unreadable) return 0 ;;
  esac
  return 1
}

# The code of what insmod said; load-refused: the kernel refused the livepatch itself.
refusal_of() {
  case $1 in
    *': Cannot allocate memory') echo memory-low ;;
    *': No space left on device') echo disk-full ;;
    *': Read-only file system') echo disk-read-only ;;
    *': Input/output error') echo disk-failing ;;
    *': Device or resource busy') echo conflict-transition ;;
    *': File exists') echo conflict-module ;;
    *': Operation not permitted') echo module-refused ;;
    *': Key was rejected by service') echo module-refused ;;
    *': Required key not available') echo module-refused ;;
    *) echo load-refused ;;
  esac
}

# The code of a write that failed.
disk_code() {
  case $1 in
    *'Read-only file system'*) echo disk-read-only ;;
    *'Input/output error'*) echo disk-failing ;;
    *) echo disk-full ;;
  esac
}

log_rules='
BEGIN {
  LINE = 1024
  TEXT = 200
  LINES = 40
  SILENCE = 10
  FOREWORD = 1
  OPEN = 64
  CUT = 200
  CUT_TITLE = "a report whose beginning is no longer in the log"
}
function heading(text,    bare) {
  bare = text
  sub(/^(NMI watchdog|watchdog|rcu|traps): /, "", bare)
  # include/asm-generic/bug.h
  if (bare ~ /^---------*\[ cut here \]---------*$/) return is("warning", "end-trace", 1, 0)
  # kernel/panic.c
  if (bare ~ /^WARNING: CPU: [0-9]+ PID: [0-9]+ at /) return is("warning", "end-trace", 0, 0)
  # kernel/panic.c
  if (bare ~ /^Kernel panic - not syncing: /) return is("panic", "end-trace", 0, 0)
  # kernel/locking/lockdep.c
  if (bare ~ /^WARNING: (possible |suspicious |inconsistent |bad unlock |lock held |Nested lock )/) return is("atomic", "stack", 0, 0)
  # lib/bug.c
  if (bare ~ /^[Kk]ernel BUG at /) return is("bug", "end-trace", 0, 0)
  # arch/x86/mm/fault.c
  if (bare ~ /^BUG: (kernel NULL pointer dereference|unable to handle |[A-Za-z0-9_]+ stack guard page was hit)/) return is("oops", "end-trace", 0, 0)
  # arch/x86/kernel/traps.c
  if (bare ~ /^PANIC: double fault/) return is("oops", "end-trace", 0, 0)
  # arch/x86/kernel/dumpstack.c
  if (bare ~ /^[^][]+: [0-9a-f][0-9a-f][0-9a-f][0-9a-f] \[#[0-9]+\]/) return is("oops", "end-trace", 0, 1)
  # kernel/watchdog.c
  if (bare ~ /^BUG: soft lockup - CPU#/) return is("soft-lockup", "silence", 0, 0)
  # kernel/watchdog_hld.c
  if (bare ~ /^Watchdog detected hard LOCKUP on cpu /) return is("hard-lockup", "silence", 0, 0)
  # kernel/rcu/tree_stall.h, kernel/rcu/tree_exp.h
  if (bare ~ /^INFO: [A-Za-z0-9_]+ (detected (expedited )?stalls on|self-detected stall on)/) return is("rcu-stall", "silence", 0, 0)
  # kernel/hung_task.c
  if (bare ~ /^INFO: task .+ blocked for more than [0-9]+ seconds\.$/) return is("hung-task", "stack", 0, 0)
  # mm/kasan/report.c, mm/kfence/report.c
  if (bare ~ /^BUG: (KASAN|KFENCE|KCSAN|KMSAN): /) return is("memory", "ruler", 0, 0)
  # lib/ubsan.c
  if (bare ~ /^UBSAN: /) return is("warning", "ruler", 0, 0)
  # mm/page_alloc.c, mm/memory.c, kernel/fork.c
  if (bare ~ /^BUG: (Bad (page|rss-counter)|non-zero pgtables_bytes)/) return is("memory", "stack", 0, 0)
  # mm/slub.c
  if (bare ~ /^BUG [A-Za-z0-9_-]+ \(/) return is("memory", "stack", 0, 0)
  # kernel/sched/core.c, kernel/locking/spinlock_debug.c, kernel/workqueue.c, lib/smp_processor_id.c
  if (bare ~ /^BUG: (scheduling |sleeping function |assuming |using |spinlock |rwlock |workqueue )/) return is("atomic", "stack", 0, 0)
  # anything else of a later kernel
  if (bare ~ /^BUG: /) return is("bug", "stack", 0, 0)
  return 0
}
function cut_heading() { return is("cut", "end-trace", 0, 0) }
function is(what, end, pending, death) { h_kind = what; h_until = end; h_pending = pending; h_death = death; return 1 }
function is_end(how, text) {
  if (how == "end-trace") return text ~ /^---\[ end (trace|Kernel panic)/
  if (how == "stack") return text ~ /^ <\/TASK>$/
  if (how == "ruler") return text ~ /^=====================*$/
  return 0
}
function is_of_the_interrupted(what) { return what == "soft-lockup" || what == "hard-lockup" || what == "rcu-stall" }
function level(text) { return match(text, /^(<[0-9]+>|[A-Za-z0-9_]+ *:[A-Za-z0-9_]+ *: )/) }
function stamp(text) { return match(text, /^\[ *([0-9]+\.[0-9]+)\]/) }
function caller_column(text) { return match(text, /^ ?\[ *([TC][0-9]+)\]/) }
function is_foreword(text) { return match(text, /^(list_(add|del) |detected buffer overflow in |usercopy: |(traps: )?Missing ENDBR: )/) }
function is_dump(text) { return match(text, /^([ \t]|[A-Z][A-Z0-9][A-Z0-9]?: |Call Trace:|Code: |CPU: |Hardware name: |Workqueue: |Modules linked in: |NMI backtrace |Sending NMI |task:|PGD |#PF: |---\[|=====================*$)/) }
function is_symbol(text) { return match(text, /^([^ \t+]+)\+0x[0-9a-f]+\/0x[0-9a-f]+( \[([A-Za-z0-9_]+)( [0-9a-f]+)?\])?$/) }
function is_frame(text) { return match(text, /^[ \t]+(\? )?([^ \t+]+)\+0x[0-9a-f]+\/0x[0-9a-f]+( \[([A-Za-z0-9_]+)( [0-9a-f]+)?\])?$/) }
function is_pointer(text) { return match(text, /^RIP: [0-9a-f][0-9a-f][0-9a-f][0-9a-f]:([^ \t+]+)\+0x[0-9a-f]+\/0x[0-9a-f]+( \[([A-Za-z0-9_]+)( [0-9a-f]+)?\])?$/) }
function names_symbol(text) { return match(text, /^(WARNING: CPU: .+|BUG: K[A-Z]+: .+ in) ([^ \t+]+)\+0x[0-9a-f]+\/0x[0-9a-f]+( \[([A-Za-z0-9_]+)( [0-9a-f]+)?\])?$/) }
function is_interrupt(text) { return match(text, /^asm_(sysvec_[A-Za-z0-9_]+|common_interrupt|spurious_interrupt|exc_nmi|exc_machine_check)$/) }
function cold_part(text) { return match(text, /\.cold(\.[0-9]+)?$/) }
'

hook_rules='
function hooked_function(text) { return match(text, /^([^ \t[(]+)( \[([A-Za-z0-9_]+)\])? \([0-9]+\)/) }
function direct_call(text) { return match(text, /^\tdirect-->([^ \t+]+)/) }
function is_shared_call(text) { return match(text, /^bpf_trampoline_/) }
function is_asleep(text) { return match(text, /\[(GONE|DISABLED)\]/) }
function is_on_entry(text) { return match(text, /\[FTRACE\]/) }
function cold_part(text) { return match(text, /\.cold(\.[0-9]+)?$/) }
'

manifest_rules='
BEGIN {
  LIVEPATCH = 67108864
  PACKAGE = 200
  VERSION = 40
  RELEASE = 64
  FIX_ID = 128
  FIX_LINE = 1200
  OBJECT = 64
  FUNCTION = 512
}
function is_object(text) { return match(text, /^[A-Za-z0-9_-]+$/) }
function is_function(text) { return match(text, /^[A-Za-z0-9_.$]+$/) }
'

rival_rules='
function is_rival(text) { return match(text, /^(kpatch|kpatch_.*|ksplice_.*|kcare|kernelcare|kmodlve_kcare|lkp_.*|livepatch_.*)$/) }
'

claim_rules='
function is_module(text) { return match(text, /^kmend_[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]$/) }
'
