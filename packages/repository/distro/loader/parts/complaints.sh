# shellcheck shell=dash
# Whether the kernel complained of a livepatch in its log, as the agent reads it (packages/host/agent/src/kernel/complaints.ts, headings.ts): a test
# compares the two. Pure: lines in, lines out.
#   suspect MODULE FROM, patches OBJECT FUNCTION    each with its functions; FROM: what began up to then, by the log's clock, does not count
#   an empty line, then the log as dmesg prints it
# gives
#   complaint MODULE KIND FUNCTION TITLE    the first one of each suspect: the livepatch is on the stack, or it happened in what it patches
#   log TEXT                                its lines
#   last SECONDS                            the last time stamp; nothing where the log has none
# Only lines with a time stamp of their own count: a line break inside a message may hold what a user chose.
# shellcheck disable=SC2016
complaints_in() {
  awk '
    function heading(text,    bare) {
      bare = text
      sub(/^(NMI watchdog|watchdog|rcu|traps): /, "", bare)
      h_pending = h_death = 0
      # include/asm-generic/bug.h, kernel/panic.c, lib/bug.c
      if (bare ~ /^--------+\[ cut here \]--------+$/) { h_pending = 1; return is("warning", "end-trace") }
      if (bare ~ /^WARNING: CPU: [0-9]+ PID: [0-9]+ at /) return is("warning", "end-trace")
      if (bare ~ /^Kernel panic - not syncing: /) return is("panic", "end-trace")
      # kernel/locking/lockdep.c
      if (bare ~ /^WARNING: (possible |suspicious |inconsistent |bad unlock |lock held |Nested lock )/) return is("atomic", "stack")
      if (bare ~ /^[Kk][Ee][Rr][Nn][Ee][Ll] BUG at /) return is("bug", "end-trace")
      # arch/x86/mm/fault.c, arch/x86/kernel/traps.c, arch/x86/kernel/dumpstack.c
      if (bare ~ /^BUG: (kernel NULL pointer dereference|unable to handle |[A-Za-z0-9_]+ stack guard page was hit)/) return is("oops", "end-trace")
      if (bare ~ /^PANIC: double fault/) return is("oops", "end-trace")
      if (bare ~ /^[^][]+: [0-9a-f][0-9a-f][0-9a-f][0-9a-f] \[#[0-9]+\]/) { h_death = 1; return is("oops", "end-trace") }
      # kernel/watchdog.c, kernel/watchdog_hld.c, kernel/rcu/tree_stall.h, kernel/rcu/tree_exp.h, kernel/hung_task.c
      if (bare ~ /^BUG: soft lockup - CPU#/) return is("soft-lockup", "silence")
      if (bare ~ /^Watchdog detected hard LOCKUP on cpu /) return is("hard-lockup", "silence")
      if (bare ~ /^INFO: [A-Za-z0-9_]+ (detected (expedited )?stalls on|self-detected stall on)/) return is("rcu-stall", "silence")
      if (bare ~ /^INFO: task .+ blocked for more than [0-9]+ seconds\.$/) return is("hung-task", "stack")
      # mm/kasan/report.c, mm/kfence/report.c, lib/ubsan.c
      if (bare ~ /^BUG: (KASAN|KFENCE|KCSAN|KMSAN): /) return is("memory", "ruler")
      if (bare ~ /^UBSAN: /) return is("warning", "ruler")
      # mm/page_alloc.c, mm/memory.c, kernel/fork.c, mm/slub.c
      if (bare ~ /^BUG: (Bad (page|rss-counter)|non-zero pgtables_bytes)/) return is("memory", "stack")
      if (bare ~ /^BUG [A-Za-z0-9_-]+ \(/) return is("memory", "stack")
      # kernel/sched/core.c, kernel/locking/spinlock_debug.c, kernel/workqueue.c, lib/smp_processor_id.c
      if (bare ~ /^BUG: (scheduling |sleeping function |assuming |using |spinlock |rwlock |workqueue )/) return is("atomic", "stack")
      if (bare ~ /^BUG: /) return is("bug", "stack")
      return 0
    }
    function is(what, end) { h_kind = what; h_until = end; return 1 }

    # `name+0x2a/0x100 [module]`, also with the build id behind the name of the module (lib/vsprintf.c).
    function symbol(text) {
      if (text !~ /^[^ \t+]+\+0x[0-9a-f]+\/0x[0-9a-f]+( \[[A-Za-z0-9_]+( [0-9a-f]+)?\])?$/) return 0
      s_name = text
      sub(/\+0x.*$/, "", s_name)
      s_object = "vmlinux"
      if (match(text, / \[[A-Za-z0-9_]+/)) s_object = substr(text, RSTART + 2, RLENGTH - 2)
      return 1
    }
    function of_heading(text) {
      if (text !~ /^WARNING: CPU: / && text !~ /^BUG: K[A-Z]+: .* in /) return 0
      if (!match(text, / [^ \t+]+\+0x[0-9a-f]+\/0x[0-9a-f]+( \[[^]]*\])?$/)) return 0
      return symbol(substr(text, RSTART + 1))
    }
    # A function, its cold part (name.cold of gcc) counted to it.
    function place(object, name) {
      sub(/\.cold(\.[0-9]+)?$/, "", name)
      return object " " name
    }
    function blame(c, i) {
      if (!((c, i) in own)) own[c, i] = s_name
    }
    # The symbol is of a livepatch.
    function blame_module(c) {
      if (s_object in number) blame(c, number[s_object])
    }
    function blame_patched(c,    i, at) {
      at = place(s_object, s_name)
      for (i = 1; i <= suspects; i++) if ((i, at) in patched) blame(c, i)
    }

    function keep(c, text) { if (lines[c] < 40) kept[c, ++lines[c]] = substr(text, 1, 200) }
    function begin_report(c, begun, foreword,    i) {
      open[c] = 1; kind[c] = h_kind; until[c] = h_until; pending[c] = h_pending
      began[c] = seen[c] = when; title[c] = begun; spoken[c] = foreword
      lines[c] = died[c] = interrupted[c] = framed[c] = 0
      for (i = 1; i <= suspects; i++) { delete own[c, i]; delete guessed[c, i] }
    }
    # The one that is open for a caller. Without an end it is over when nothing that looks like one came for ten seconds.
    function current(c) {
      if (!(c in open)) return 0
      if (when - seen[c] <= 10) return 1
      close_report(c)
      return 0
    }
    function close_report(c,    i, name, told, j) {
      if (!(c in open)) return
      delete open[c]
      for (i = 1; i <= suspects; i++) {
        if (began[c] <= from[i] || (i in told_of) || (kind[c] == "cut" && first <= from[i])) continue
        name = ((c, i) in own) ? own[c, i] : (!framed[c] && (c, i) in guessed) ? guessed[c, i] : ""
        if (name == "") continue
        told_of[i] = told = 1
        print "complaint", module[i], kind[c], name, title[c]
      }
      if (told) for (j = 1; j <= lines[c]; j++) print "log", kept[c, j]
    }
    function go_on_with_heading(c, text) {
      if (pending[c]) {
        kind[c] = h_kind; until[c] = h_until; pending[c] = h_pending
        if (!spoken[c]) title[c] = substr(text, 1, 200)
      }
      if (h_death) died[c] = 1
      seen[c] = when
      keep(c, text)
      if (of_heading(text)) { blame_module(c); blame_patched(c) }
    }
    # `cut here`, then `kernel BUG at`, then `invalid opcode: 0000 [#1]` are one report.
    function continues(c) {
      if (h_pending) return 0
      if (pending[c]) return h_kind == "warning" || h_kind == "bug"
      return h_death && !died[c] && (kind[c] == "oops" || kind[c] == "bug")
    }
    function with_heading(c, text,    is_open, said) {
      headed = 1
      is_open = current(c)
      if (is_open && continues(c)) { go_on_with_heading(c, text); return }
      # One that came in between of another: both ends are to come.
      ends_to_come = (is_open && until[c] == "end-trace" && h_until == "end-trace") ? ends[c] + 1 : 1
      close_report(c)
      said = ((c in foreword) && when - foreword_at[c] <= 1) ? foreword[c] : ""
      delete foreword[c]
      begin_report(c, said == "" ? substr(text, 1, 200) : said, said != "")
      ends[c] = ends_to_come
      if (said != "") keep(c, said)
      go_on_with_heading(c, text)
    }
    function other_line(c, text) {
      # lib/list_debug.c, lib/string_helpers.c, mm/usercopy.c
      if (text ~ /^(list_(add|del) |detected buffer overflow in |usercopy: |(traps: )?Missing ENDBR: )/) {
        foreword[c] = substr(text, 1, 200); foreword_at[c] = when
      }
      if (!current(c)) {
        # One whose heading was overwritten in the log.
        if (headed || stamped > 200 || !pointer(text)) return
        headed = 1; h_kind = "cut"; h_until = "end-trace"; h_pending = 0
        begin_report(c, "a report whose beginning is no longer in the log", 0)
        ends[c] = 1
      }
      keep(c, text)
      if (text ~ /^([ \t]|[A-Z][A-Z0-9][A-Z0-9]?: |Call Trace:|Code: |CPU: |Hardware name: |Workqueue: |Modules linked in: |NMI backtrace |Sending NMI |task:|PGD |#PF: |---\[|=====+$)/) seen[c] = when
      else if (pending[c] && !spoken[c] && text != "") { title[c] = substr(text, 1, 200); spoken[c] = 1 }
      look(c, text)
      if (until[c] == "end-trace") { if (text ~ /^---\[ end (trace|Kernel panic)/ && --ends[c] == 0) close_report(c) }
      else if (until[c] == "stack") { if (text == " </TASK>") close_report(c) }
      else if (until[c] == "ruler") { if (text ~ /^====================+$/) close_report(c) }
    }
    function pointer(text) {
      return match(text, /^RIP: [0-9a-f][0-9a-f][0-9a-f][0-9a-f]:/) ? symbol(substr(text, RLENGTH + 1)) : 0
    }
    function look(c, text,    guess) {
      if (text == "Call Trace:") interrupted[c] = 0
      # Behind an interrupt stands what was merely interrupted, except where just that is what it is about.
      if (interrupted[c] && kind[c] != "soft-lockup" && kind[c] != "hard-lockup" && kind[c] != "rcu-stall") return
      if (pointer(text)) { blame_module(c); blame_patched(c) }
      if (text !~ /^[ \t]/) return
      sub(/^[ \t]+/, "", text)
      guess = sub(/^\? /, "", text)
      if (!symbol(text)) return
      # What the unwinder guesses counts where it vouches for nothing.
      if (guess) {
        if ((s_object in number) && !((c, number[s_object]) in guessed)) guessed[c, number[s_object]] = s_name
        return
      }
      framed[c] = 1
      blame_module(c)
      # arch/x86/include/asm/idtentry.h
      if (s_name ~ /^asm_(sysvec_[A-Za-z0-9_]+|common_interrupt|spurious_interrupt|exc_nmi|exc_machine_check)$/) interrupted[c] = 1
    }

    !in_log && $1 == "suspect" { module[++suspects] = $2; number[$2] = suspects; from[suspects] = $3 + 0; next }
    !in_log && $1 == "patches" { patched[suspects, place($2, $3)] = 1; next }
    !in_log { in_log = 1; next }
    {
      # Longer ones are none of the kernel: kernel/printk/printk.c, PRINTKRB_RECORD_MAX.
      raw = substr($0, 1, 1024)
      sub(/^<[0-9]+>/, "", raw)
      if (!match(raw, /^\[ *[0-9]+\.[0-9]+\]/)) {
        for (c in open) keep(c, raw)
        next
      }
      last = substr(raw, 2, RLENGTH - 2)
      when = last + 0
      raw = substr(raw, RLENGTH + 1)
      caller = "-"
      # The column of CONFIG_PRINTK_CALLER tells CPUs apart that print at the same time.
      if (match(raw, /^ ?\[ *[TC][0-9]+\]/)) { caller = substr(raw, 1, RLENGTH); raw = substr(raw, RLENGTH + 1) }
      sub(/^ /, "", raw)
      if (!stamped++) first = when
      if (heading(raw)) with_heading(caller, raw)
      else other_line(caller, raw)
    }
    END {
      for (c in open) closing[++n] = c
      for (i = 1; i <= n; i++) close_report(closing[i])
      if (stamped) { sub(/^ */, "", last); print "last", last }
    }' | tr '\011' ' ' | tr -d '\000-\010\013-\037\177'
}
