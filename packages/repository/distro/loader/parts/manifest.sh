# shellcheck shell=dash
# The manifest of a package's livepatch. `key value` a line, in a fixed order; its limits are in rules.sh.

# Why a file is no manifest: "code text".
# shellcheck disable=SC2016
manifest_fault() {
  local size
  if [ ! -f "$1" ] || [ -L "$1" ]; then
    echo 'package-incomplete there is no manifest'
    return 0
  fi
  size=$(stat -c %s "$1" 2>/dev/null)
  if [ "${size:-0}" -gt "$manifest_limit" ]; then
    echo "manifest-too-large the manifest has $size bytes; the limit is $manifest_limit"
    return 0
  fi
  # Only text.
  if [ "$(tr -d '\012\040-\176\200-\377' <"$1" | wc -c)" -ne 0 ]; then
    echo 'manifest-garbage the manifest contains control characters'
    return 0
  fi
  return 1
}

# Reads a manifest: "POSITION KIND MODULE PACKAGE VERSION RELEASE BUILD-ID SIZE SHA256 ON FUNCTIONS" (ON: modules with
# commas, or -), or fails with what is wrong with it.
# shellcheck disable=SC2016
manifest_read() {
  awk "$manifest_rules"'
    function bad(text) { print text; failed = 1; exit 1 }
    function wrong(what) { bad("line " NR ": " what) }
    function is_hex(s, n) { return length(s) == n && s !~ /[^0-9a-f]/ }
    function is_number(s, digits) { return length(s) <= digits && s ~ /^[1-9][0-9]*$/ }
    function is_module(s) { return substr(s, 1, 6) == "kmend_" && is_hex(substr(s, 7), 12) }
    # Usable as the name of a file.
    function is_name(s, n) { return length(s) >= 1 && length(s) <= n && s ~ /^[A-Za-z0-9]/ && s !~ /[^A-Za-z0-9._+~-]/ }
    function single(key) { if (NF != 2 || $1 != key || $0 != key " " $2) wrong("not \"" key " VALUE\""); return $2 }
    BEGIN { split("kmend-livepatch package version release build-id kind position id module sha256 size", order, " ") }
    NR <= 11 {
      value = single(order[NR])
      if (NR == 1 && value != "1") wrong("format " value " is not known")
      if (NR == 2 && !(is_name(value, PACKAGE) && value !~ /[A-Z_]/ && substr(value, 1, 10) == "livepatch-")) wrong("no package name")
      if (NR == 3 && (length(value) > VERSION || value !~ /^[0-9]+\.[0-9]+$/)) wrong("no version")
      if (NR == 4 && !is_name(value, RELEASE)) wrong("no release")
      if (NR == 5 && !is_hex(value, 40)) wrong("no build id")
      if (NR == 6 && value != "stacked" && value != "cumulative") wrong("no kind")
      if (NR == 7 && !is_number(value, 7)) wrong("no position")
      if (NR == 8 && !is_hex(value, 12)) wrong("no id")
      if (NR == 9 && value != "kmend_" field[8]) wrong("not the module of its id")
      if (NR == 10 && !is_hex(value, 64)) wrong("no SHA-256")
      if (NR == 11 && (!is_number(value, 9) || value > LIVEPATCH)) wrong("no size, or more than " LIVEPATCH)
      field[NR] = value
      next
    }
    $1 == "on" && stage == 0 {
      value = single("on")
      if (!is_module(value) || value == field[9]) wrong("no module to stand on")
      on = on (on == "" ? "" : ",") value
      next
    }
    $1 == "fix" && stage <= 1 && $0 ~ /^fix [^ ]+ [^ ]/ && is_name($2, FIX_ID) && length($0) <= FIX_LINE { stage = 1; fixes++; next }
    $1 == "function" && fixes > 0 && NF == 3 && $0 == $1 " " $2 " " $3 {
      if (length($2) > OBJECT || !is_object($2) || length($3) > FUNCTION || !is_function($3)) wrong("no function")
      stage = 2; functions++
      next
    }
    { wrong("unexpected") }
    END {
      if (failed) exit 1
      if (NR <= 11 || fixes == 0 || functions == 0) { print "it is cut short"; exit 1 }
      print field[7], field[6], field[9], field[2], field[3], field[4], field[5], field[11], field[10], on == "" ? "-" : on, functions
    }' "$1"
}

# The fixes of a manifest that was read: "ID TITLE" a line.
manifest_fixes() {
  sed -n 's/^fix //p' "$1" 2>/dev/null
}
