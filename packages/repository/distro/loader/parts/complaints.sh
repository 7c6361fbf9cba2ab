# shellcheck shell=dash
# Whether the kernel complained of a livepatch in its log, by the tables and as the rule of packages/host/rules
# (kernel-log.ts, complaints.ts): a test compares the two. Pure: lines in, lines out.
#
#   suspect MODULE FROM                      reports that began up to FROM, by the log's clock, do not count
#   patches OBJECT FUNCTION                  a function of the suspect above
#   an empty line, then the log as dmesg prints it
#
# gives
#
#   complaint MODULE KIND FUNCTION TITLE     the first one of each suspect: the livepatch is on the stack, or the report
#                                            is about what it patches
#   log TEXT                                 its lines
#   last SECONDS                             the last time stamp; nothing if the log has none
#
# Only lines with a time stamp of their own count: a line break inside a message may hold what a user chose.
# shellcheck disable=SC2016,SC2154
# SC2016: an awk program. SC2154: log_rules is of rules.sh.
complaints_in() {
  awk "$log_rules"'
    # `name+0x2a/0x100 [module]`, also with the build id behind the name of the module.
    function symbol(text) {
      if (!is_symbol(text)) return 0
      s_name = text
      sub(/\+0x.*$/, "", s_name)
      s_object = "vmlinux"
      if (match(text, / \[[A-Za-z0-9_]+/)) s_object = substr(text, RSTART + 2, RLENGTH - 2)
      return 1
    }
    # The symbol that a heading ends with: behind a blank, and without one but before its module.
    function of_heading(text) {
      if (!names_symbol(text)) return 0
      match(text, / [^ \t+]+\+0x[0-9a-f]+\/0x[0-9a-f]+( \[[^]]*\])?$/)
      return symbol(substr(text, RSTART + 1))
    }
    # A function, its cold part counted to it.
    function place(object, name) {
      if (cold_part(name)) name = substr(name, 1, RSTART - 1)
      return object " " name
    }
    function blame(c, i) {
      if (!((c, i) in own)) own[c, i] = s_name
    }
    # The symbol belongs to a livepatch.
    function blame_module(c) {
      if (s_object in number) blame(c, number[s_object])
    }
    function blame_patched(c,    i, at) {
      at = place(s_object, s_name)
      for (i = 1; i <= suspects; i++) if ((i, at) in patched) blame(c, i)
    }

    function keep(c, text) { if (lines[c] < LINES) kept[c, ++lines[c]] = substr(text, 1, TEXT) }
    function oldest(    c, found) {
      for (c in open) if (found == "" || open[c] < open[found]) found = c
      return found
    }
    function begin_report(c, begun, foreword) {
      open[c] = ++reports; kind[c] = h_kind; until[c] = h_until; pending[c] = h_pending
      began[c] = seen[c] = when; title[c] = begun; spoken[c] = foreword
      lines[c] = died[c] = interrupted[c] = framed[c] = 0
      forget(c)
      if (++opened > OPEN) close_report(oldest())
    }
    function forget(c,    i) {
      for (i = 1; i <= suspects; i++) { delete own[c, i]; delete guessed[c, i] }
    }
    # The open report of a caller. Without an end line it is over after a silence.
    function current(c) {
      if (!(c in open)) return 0
      if (when - seen[c] <= SILENCE) return 1
      close_report(c)
      return 0
    }
    function close_report(c,    i, name) {
      if (!(c in open)) return
      delete open[c]
      opened--
      for (i = 1; i <= suspects; i++) {
        if (began[c] <= from[i] || (kind[c] == "cut" && first <= from[i])) continue
        name = ((c, i) in own) ? own[c, i] : (!framed[c] && (c, i) in guessed) ? guessed[c, i] : ""
        # The report that began first, whichever ended first.
        if (name != "" && (!(i in of) || began[c] < of[i])) remember(c, i, name)
      }
    }
    function remember(c, i, name,    j) {
      of[i] = began[c]
      complaint[i] = module[i] " " kind[c] " " name " " title[c]
      count[i] = lines[c]
      for (j = 1; j <= lines[c]; j++) text_of[i, j] = kept[c, j]
    }
    function go_on_with_heading(c, text) {
      if (pending[c]) {
        kind[c] = h_kind; until[c] = h_until; pending[c] = h_pending
        if (!spoken[c]) title[c] = substr(text, 1, TEXT)
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
    function foreword_of(c,    said) {
      if (!(c in foreword)) return ""
      said = when - foreword_at[c] <= FOREWORD ? foreword[c] : ""
      delete foreword[c]
      forewords--
      return said
    }
    function note_foreword(c, text,    k) {
      if (!(c in foreword)) forewords++
      foreword[c] = substr(text, 1, TEXT); foreword_at[c] = when
      if (forewords <= OPEN) return
      for (k in foreword) delete foreword[k]
      forewords = 0
    }
    function with_heading(c, text,    is_open, said) {
      headed = 1
      is_open = current(c)
      if (is_open && continues(c)) { go_on_with_heading(c, text); return }
      # A report inside another one: two end lines follow.
      ends_to_come = (is_open && until[c] == "end-trace" && h_until == "end-trace") ? ends[c] + 1 : 1
      close_report(c)
      said = foreword_of(c)
      begin_report(c, said == "" ? substr(text, 1, TEXT) : said, said != "")
      ends[c] = ends_to_come
      if (said != "") keep(c, said)
      go_on_with_heading(c, text)
    }
    function other_line(c, text) {
      if (is_foreword(text)) note_foreword(c, text)
      if (!current(c)) {
        # A report whose heading was overwritten in the log.
        if (headed || stamped > CUT || !pointer(text)) return
        headed = 1
        cut_heading()
        begin_report(c, CUT_TITLE, 0)
        ends[c] = 1
      }
      keep(c, text)
      if (is_dump(text)) seen[c] = when
      else if (pending[c] && !spoken[c] && text != "") { title[c] = substr(text, 1, TEXT); spoken[c] = 1 }
      look(c, text)
      if (is_end(until[c], text) && (until[c] != "end-trace" || --ends[c] == 0)) close_report(c)
    }
    function pointer(text) { return is_pointer(text) ? symbol(substr(text, index(text, ":") + 7)) : 0 }
    function look(c, text,    guess) {
      if (text == "Call Trace:") interrupted[c] = 0
      # Frames behind an interrupt were merely interrupted, unless the report is about a hang.
      if (interrupted[c] && !is_of_the_interrupted(kind[c])) return
      if (pointer(text)) { blame_module(c); blame_patched(c) }
      if (!is_frame(text)) return
      sub(/^[ \t]+/, "", text)
      guess = sub(/^\? /, "", text)
      symbol(text)
      # Guessed frames count only if the unwinder vouches for none.
      if (guess) {
        if ((s_object in number) && !((c, number[s_object]) in guessed)) guessed[c, number[s_object]] = s_name
        return
      }
      framed[c] = 1
      blame_module(c)
      if (is_interrupt(s_name)) interrupted[c] = 1
    }

    !in_log && $1 == "suspect" { module[++suspects] = $2; number[$2] = suspects; from[suspects] = $3 + 0; next }
    !in_log && $1 == "patches" { patched[suspects, place($2, $3)] = 1; next }
    !in_log { in_log = 1; next }
    {
      raw = substr($0, 1, LINE)
      rest = level(raw) ? substr(raw, RLENGTH + 1) : raw
      if (!stamp(rest)) {
        for (c in open) keep(c, raw)
        next
      }
      last = substr(rest, 2, RLENGTH - 2)
      when = last + 0
      rest = substr(rest, RLENGTH + 1)
      caller = "-"
      if (caller_column(rest)) {
        column = RLENGTH
        caller = substr(rest, 1, column)
        gsub(/[][ ]/, "", caller)
        rest = substr(rest, column + 1)
      }
      sub(/^ /, "", rest)
      if (!stamped++) first = when
      if (heading(rest)) with_heading(caller, rest)
      else other_line(caller, rest)
    }
    END {
      while ((c = oldest()) != "") close_report(c)
      for (i = 1; i <= suspects; i++) {
        if (!(i in complaint)) continue
        print "complaint", complaint[i]
        for (j = 1; j <= count[i]; j++) print "log", text_of[i, j]
      }
      if (stamped) { sub(/^ */, "", last); print "last", last }
    }' | tr '\011' ' ' | tr -d '\000-\010\013-\037\177'
}
