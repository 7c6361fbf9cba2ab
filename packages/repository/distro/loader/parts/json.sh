# shellcheck shell=dash
# JSON from lines: `object KEY`, `array KEY`, `end`, `text KEY VALUE`, `number KEY VALUE`, `bare KEY true|false|null`.
# KEY is - inside an array and for the document. What is written is ASCII, and valid whatever the values hold.
# shellcheck disable=SC2016
json() {
  awk '
    function escaped(s,    out, i, c, n, code, need, k, next_code) {
      out = ""; n = length(s)
      for (i = 1; i <= n; i++) {
        c = substr(s, i, 1); code = ord[c]
        if (c == "\"" || c == "\\") out = out "\\" c
        else if (code >= 32 && code < 127) out = out c
        else if (code < 128) out = out sprintf("\\u%04x", code)
        else {
          # UTF-8: the lead byte says how many follow; anything else becomes U+FFFD.
          if (code >= 194 && code < 224) { need = 1; code -= 192 }
          else if (code >= 224 && code < 240) { need = 2; code -= 224 }
          else if (code >= 240 && code < 245) { need = 3; code -= 240 }
          else { out = out "\\ufffd"; continue }
          for (k = 1; k <= need; k++) {
            next_code = (i + k <= n) ? ord[substr(s, i + k, 1)] : 0
            if (next_code < 128 || next_code > 191) break
            code = code * 64 + next_code - 128
          }
          if (k <= need || (need == 2 && (code < 2048 || (code >= 55296 && code < 57344))) ||
              (need == 3 && (code < 65536 || code > 1114111))) { out = out "\\ufffd"; continue }
          i += need
          if (code < 65536) out = out sprintf("\\u%04x", code)
          else {
            code -= 65536
            out = out sprintf("\\u%04x\\u%04x", 55296 + int(code / 1024), 56320 + code % 1024)
          }
        }
      }
      return "\"" out "\""
    }
    function put(key, value) {
      printf "%s%s%s", (depth > 0 && count[depth]++ > 0) ? "," : "", (key == "-") ? "" : escaped(key) ":", value
    }
    BEGIN { for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i }
    {
      op = $1; key = $2; value = $0
      sub(/^[^ ]* [^ ]* ?/, "", value)
      if (op == "object" || op == "array") {
        put(key, op == "object" ? "{" : "["); depth++; count[depth] = 0; closing[depth] = op == "object" ? "}" : "]"
      } else if (op == "end") { printf "%s", closing[depth]; depth-- }
      else if (op == "text") put(key, escaped(value))
      else if (op == "number") put(key, value ~ /^[0-9]+(\.[0-9]+)?$/ ? value : "null")
      else if (op == "bare") put(key, value)
    }
    END { printf "\n" }'
}
