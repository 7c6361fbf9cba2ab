# shellcheck shell=dash
# Plans the steps from what is installed and what is in force. Pure: lines in, lines out.
#   installed POSITION KIND MODULE PACKAGE VERSION ON      can be used
#   unusable PACKAGE CODE                                  installed, but cannot
#   running POSITION KIND MODULE PACKAGE ON                the packages' own, enabled
# gives, in order
#   revert MODULE, load MODULE, problem CODE SUBJECT TEXT
#
# The newest cumulative livepatch is the ground. Stacked ones above it are loaded in the order of their positions. A
# cumulative one that is not loaded yet replaces everything at once, so nothing is reverted for it. Stacked ones are
# loaded and reverted at the top. A livepatch stays in force if its successor cannot be loaded: a damaged package
# removes no protection.
# shellcheck disable=SC2016
plan() {
  awk '
    function fault(code, subject, text) { print "problem", code, subject, text }
    function number(version,    part) { split(version, part, "."); return part[1] * 1000000 + part[2] }
    function stands(list, set,    part, n, i) {
      if (list == "-") return ""
      n = split(list, part, ",")
      for (i = 1; i <= n; i++) if (!(part[i] in set)) return part[i]
      return ""
    }
    # Indices 1..n of `key`, ascending, into `order`.
    function sorted(n, key, tie, order,    i, j, k) {
      for (i = 1; i <= n; i++) {
        for (j = i - 1; j >= 1 && (key[order[j]] > key[i] || (key[order[j]] == key[i] && tie[order[j]] > tie[i])); j--) order[j + 1] = order[j]
        order[j + 1] = i
      }
    }
    function candidate(p, k, m, package, v, o) {
      n++; pos[n] = p; kind[n] = k; mod[n] = m; pkg[n] = package; tie[n] = v; on[n] = o; offered[m] = n
    }
    $1 == "installed" { candidate($2 + 0, $3, $4, $5, number($6), $7); next }
    $1 == "unusable" { unusable[$2] = $3; faulty++; if ($2 ~ /-cumulative$/) no_cumulative = 1; next }
    $1 == "running" { r++; rpos[r] = $2 + 0; rkind[r] = $3; rmod[r] = $4; rpkg[r] = $5; ron[r] = $6; rtie[r] = r; runs[$4] = r; next }
    END {
      # An earlier livepatch of a package whose present one cannot be used.
      for (i = 1; i <= r; i++) if (!(rmod[i] in offered) && (rpkg[i] in unusable)) candidate(rpos[i], rkind[i], rmod[i], rpkg[i], 0, ron[i])

      for (i = 1; i <= n; i++)
        if (kind[i] == "cumulative" && (!ground || pos[i] > pos[ground] || (pos[i] == pos[ground] && tie[i] > tie[ground]))) ground = i

      sorted(n, pos, tie, by_position)
      for (i = 1; i <= n; i++) {
        c = by_position[i]
        if (c == ground) continue
        if (kind[c] == "cumulative" || (ground && pos[c] <= pos[ground])) continue
        want[++w] = c; wanted[mod[c]] = 1
      }

      # It replaces everything; what belongs above it is loaded again.
      if (ground && !(mod[ground] in runs)) {
        print "load", mod[ground]
        placed[mod[ground]] = 1
        for (i = 1; i <= w; i++) put(want[i])
        for (i = 1; i <= loads; i++) print "load", to_load[i]
        exit
      }
      if (ground) wanted[mod[ground]] = 1

      # What was removed, but something that stays depends on it. From the top, so that its own dependencies stay too.
      sorted(r, rpos, rtie, by_running)
      for (i = r; i >= 1; i--) {
        q = by_running[i]
        if (!(rmod[q] in wanted) && !(rmod[q] in needed)) continue
        count = split(ron[q], below, ",")
        for (j = 1; j <= count; j++) {
          m = below[j]
          if (m != "-" && (m in runs) && !(m in wanted) && !(m in needed)) {
            needed[m] = rmod[q]; needed_package[rpkg[runs[m]]] = 1
            fault("removed-but-needed", m, m " (" rpkg[runs[m]] ") is no longer installed, but stays because " rmod[q] " depends on it")
          }
        }
      }
      # Its successor cannot be used.
      for (i = 1; i <= r; i++) {
        if ((rmod[i] in wanted) || (rmod[i] in needed)) continue
        if (no_cumulative || (rkind[i] == "cumulative" && faulty)) {
          needed[rmod[i]] = "-"; needed_package[rpkg[i]] = 1
          if (rkind[i] == "cumulative") waits = rmod[i]
          fault("removed-but-needed", rmod[i], rmod[i] " (" rpkg[i] ") is no longer installed; it stays until its successor can be loaded")
        }
      }

      # The stack as it should be: wanted and needed, by position.
      if (ground) placed[mod[ground]] = 1
      for (i = 1; i <= r; i++) if (rmod[i] in needed) placed[rmod[i]] = 1
      for (i = 1; i <= w; i++) {
        c = want[i]
        if (mod[c] in runs) { placed[mod[c]] = 1; line_pos[++l] = pos[c]; line_mod[l] = mod[c] }
        else if (waits != "") fault("below-missing", pkg[c], pkg[c] " waits until " waits " is reverted")
        else if (pkg[c] in needed_package) fault("below-missing", pkg[c], pkg[c] " waits until its earlier revision is reverted")
        else {
          missing = stands(on[c], placed)
          if (missing != "") fault("below-missing", pkg[c], pkg[c] " depends on " missing ", which is not in force")
          else { placed[mod[c]] = 1; line_pos[++l] = pos[c]; line_mod[l] = mod[c]; if (!gap) gap = l }
        }
      }
      for (i = 1; i <= r; i++) if (rmod[i] in needed && gap && rpos[i] > line_pos[gap]) {
        # What is above the gap could not be loaded again.
        fault("below-missing", line_mod[gap], line_mod[gap] " belongs below " rmod[i] ", which is no longer installed: it waits until that is reverted")
        gap = l + 1
      }

      for (i = 1; i <= r; i++) stays[rmod[i]] = (rmod[i] in wanted) || (rmod[i] in needed)
      for (i = gap; gap && i <= l; i++) if (line_mod[i] in runs) stays[line_mod[i]] = 0
      for (i = r; i >= 1; i--) if (!stays[rmod[by_running[i]]]) print "revert", rmod[by_running[i]]
      for (i = gap; gap && i <= l; i++) print "load", line_mod[i]
    }
    function put(c,    missing) {
      missing = stands(on[c], placed)
      if (missing == "") { placed[mod[c]] = 1; to_load[++loads] = mod[c] }
      else fault("below-missing", pkg[c], pkg[c] " depends on " missing ", which is not in force")
    }'
}
