# shellcheck shell=dash
# Whether a tracer or a probe hooks a function to be patched in a way that conflicts with a livepatch. Uses the tables
# and the rule of packages/host/rules (hook-conflicts.ts), which explains each conflict: a test compares the two.

# Modules that cannot be loaded for that, one a line.
hooked=

is_hooked() {
  case $newline$hooked in *"$newline$1$newline"*) return 0 ;; esac
  return 1
}

# Checks what is to be loaded. True if a new conflict was found.
find_hooked() {
  local wanted module code text package found=1
  wanted=$(wanted_functions)
  [ -n "$wanted" ] || return 1
  while read -r module code text; do
    [ -n "$module" ] || continue
    hooked="$hooked$module$newline"
    found=0
    package=$(installed_line "$module" | awk '{ print $4 }')
    problem "$code" "$package" "$package is not loaded: $text"
  done <<END
$(
    {
      patched_now
      printf '%s\n' "$wanted"
      listing k "$root/sys/kernel/debug/kprobes/list"
      listing f "$root/sys/kernel/tracing/enabled_functions" || listing f "$root/sys/kernel/debug/tracing/enabled_functions"
    } | hooked_in
  )
END
  return "$found"
}

# wanted MODULE OBJECT FUNCTION
wanted_functions() {
  local step module directory
  printf '%s\n' "$steps" | while read -r step module; do
    [ "$step" = load ] || continue
    directory=$(installed_line "$module" | awk '{ print $7 }')
    sed -n "s/^function /wanted $module /p" "$directory/manifest" 2>/dev/null
  done
}

# patched OBJECT FUNCTION: what our own livepatches patch, once for each place of that name.
patched_now() {
  local module entry object
  for module in $(in_kernel); do
    for entry in "$livepatch_dir/$module"/*/*,*; do
      [ -e "$entry" ] || continue
      object=${entry%/*}
      printf '%s %s\n' "${object##*/}" "${entry##*/}"
    done
  done | sort -u | sed 's/^\(.*\),[^,]*$/patched \1/'
}

# A listing of the kernel, bounded; fails if it is missing or not readable (lockdown).
listing() {
  [ -r "$2" ] || return 1
  { head -c "$listing_limit" "$2" | sed "s/^/$1 /"; } 2>/dev/null
}

# "MODULE CODE TEXT" of the first conflicting hook of each module.
# shellcheck disable=SC2016
hooked_in() {
  awk "$hook_rules"'
    # A function, its cold part counted to it.
    function place(object, name) {
      if (cold_part(name)) name = substr(name, 1, RSTART - 1)
      return object " " name
    }
    function named(object, name) { return object == "vmlinux" ? name : name " [" object "]" }
    function found(at, code, text,    part, n, i) {
      n = split(by[at], part, " ")
      for (i = 1; i <= n; i++) if (!(part[i] in told)) { told[part[i]] = 1; print part[i], code, text }
    }
    $1 == "patched" { ours[place($2, $3)]++; patched[place($2, $3)] = 1; next }
    $1 == "wanted" { by[place($3, $4)] = by[place($3, $4)] " " $2; next }

    # `address  k  symbol+0x2a  module [DISABLED][OPTIMIZED][FTRACE]`
    $1 == "k" {
      if ($2 !~ /^[0-9a-f]+$/ || ($3 != "k" && $3 != "r") || $4 !~ /^[^+]+\+0x[0-9a-f]+(\/0x[0-9a-f]+)?$/) next
      name = offset = $4
      sub(/\+0x.*$/, "", name)
      sub(/^[^+]*\+/, "", offset); sub(/\/.*$/, "", offset)
      states = $5 $6
      object = "vmlinux"
      if ($5 != "" && $5 !~ /^\[(GONE|DISABLED|OPTIMIZED|FTRACE)\]/) { object = $5; gsub(/[][]/, "", object); states = $6 }
      at = place(object, name)
      if (!(at in by) || is_asleep(states)) next
      if (is_on_entry(states)) { on_entry[at] = 1; next }
      # In a function that is patched already the probe misses calls already.
      if (at in patched) next
      # Reported after those of ftrace, as the agent does.
      blind[++blinds] = at
      blind_text[blinds] = named(object, name) " is hooked: the " ($3 == "r" ? "kretprobe" : "kprobe") " on " name "+" offset " would never fire again"
      next
    }

    # `name [module] (count) R I D<tab>tramp: ...`, and on a line of its own `<tab>direct-->symbol`
    $1 == "f" {
      text = substr($0, 3)
      if (direct_call(text)) {
        sub(/^\tdirect-->/, "", text); sub(/[ \t+].*$/, "", text)
        if (direct != "" && text != "" && !is_shared_call(text)) found(direct, "conflict-ftrace", direct_name " is hooked: " text " is called from it directly")
        direct = ""
        next
      }
      direct = ""
      if (!hooked_function(text)) next
      head = substr(text, 1, RLENGTH)
      text = substr(text, RLENGTH + 1)
      name = head; sub(/ .*$/, "", name)
      object = "vmlinux"
      if (match(head, / \[[A-Za-z0-9_]+\]/)) object = substr(head, RSTART + 2, RLENGTH - 3)
      at = place(object, name)
      if (!(at in by)) next
      flags = ""
      while (text ~ /^ [A-Z ]/) { flags = flags substr(text, 2, 1); text = substr(text, 3) }
      if (flags ~ /I/) {
        if (ours[at] > 0) ours[at]--
        else if (at in on_entry) found(at, "conflict-kprobe", named(object, name) " is hooked: a kprobe with a post handler redirects it already")
        else found(at, "conflict-ftrace", named(object, name) " is hooked: another tracer redirects it already")
      } else if (flags ~ /D/) { direct = at; direct_name = named(object, name) }
    }
    END { for (i = 1; i <= blinds; i++) found(blind[i], "conflict-kprobe", blind_text[i]) }'
}
