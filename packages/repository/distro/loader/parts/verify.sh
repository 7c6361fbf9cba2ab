# shellcheck shell=dash
# Verifies the signature of a manifest, and that the livepatch is the one that it names.

# signed MANIFEST SIGNATURE: fails with "code text". An expired key still counts: apt checks that when it
# fetches, and a host keeps its protection. A revoked one does not.
# shellcheck disable=SC2016
unsigned() {
  local said
  if [ ! -s "$key_file" ]; then
    echo "key-missing the key /usr/share/kmend-livepatch/packages.gpg is missing"
    return 0
  fi
  if [ ! -f "$2" ] || [ -L "$2" ]; then
    echo "package-incomplete there is no ${2##*/}"
    return 0
  fi
  if [ -z "$gpgv" ]; then
    echo 'tool-failed there is no gpgv'
    return 0
  fi
  said=$("$gpgv" --homedir "$private_dir" --status-fd 1 --keyring "$key_file" "$2" "$1" 2>/dev/null)
  case $? in
    126 | 127 | 13[0-9])
      echo 'tool-failed gpgv could not be run'
      return 0
      ;;
  esac
  # VALIDSIG has the digest in its tenth word: SHA-256 or better; 00: over a file's bytes.
  if printf '%s\n' "$said" | awk '
    $2 == "BADSIG" || $2 == "ERRSIG" || $2 == "REVKEYSIG" || $2 == "EXPSIG" || $2 == "NODATA" { bad = 1 }
    $2 == "GOODSIG" || $2 == "EXPKEYSIG" { good++ }
    $2 == "VALIDSIG" { valid++; if (($10 != 8 && $10 != 9 && $10 != 10) || $11 != "00") bad = 1 }
    END { exit !(good == 1 && valid == 1 && !bad) }'; then
    return 1
  fi
  echo "signature-wrong its manifest is not signed with this host's key ($(printf '%s\n' "$said" | awk '$2 ~ /SIG$|^NO_PUBKEY$|^NODATA$/ && !n++ { print $2 }'))"
}

# not_the_bytes FILE SIZE SHA256: fails with "code text".
not_the_bytes() {
  local size hash
  if [ ! -f "$1" ] || [ -L "$1" ]; then
    echo 'package-incomplete there is no livepatch.ko'
    return 0
  fi
  size=$(stat -c %s "$1" 2>/dev/null)
  if [ "$size" != "$2" ]; then
    echo "livepatch-damaged livepatch.ko has $size bytes instead of the signed $2"
    return 0
  fi
  hash=$(sha256sum "$1" 2>/dev/null)
  if [ "${hash%% *}" != "$3" ]; then
    echo "livepatch-damaged livepatch.ko does not have the signed SHA-256"
    return 0
  fi
  return 1
}
