/**
 * Where a line of a patch file stands that is in no hunk. `remark`: before the first file, no mail; `message`: a mail's
 * or a commit's text; `notes`: behind its `---`; `diff`: behind a file's header; `signature`: behind `-- `.
 */
export type TextArea = 'remark' | 'message' | 'notes' | 'diff' | 'signature';

/** Begins a mail of an mbox, or a commit of `git log -p`. */
const MESSAGE_START = /^(?:From [0-9a-f]{7,64} |From [^\s@]+@\S+ |commit [0-9a-f]{7,64}\b)/;
/** Begins a mail without that line; a Debian patch header (DEP-3) looks like one. */
const MAIL_FIELD = /^(?:From|Subject|Date|Author|Description|Message-I[dD]|Origin|Return-Path|Received): /;
/** What follows a field of a mail: another, the rest of it, or the text. Not the lost half of a hunk. */
const BEHIND_FIELD = /^(?:[A-Za-z][\w-]*:(?: |$)|[ \t]+\S|\s*$)/;
const ENCODED = /^Content-Transfer-Encoding:\s*(quoted-printable|base64)\s*$/i;

/** Context and normal diffs, and ed scripts: `*** 1,3 ****`, `2c2`. */
const OTHER_FORMAT = /^(?:\*{15}|\*\*\* \d+(?:,\d+)? \*{4}|\d+(?:,\d+)?[acd]\d+(?:,\d+)?)\s*$/;
/** A file's name on its new side, with or without `---` above. */
const NEW_NAME = /^\+\+\+ (?:[abciow]\/|[^\s/]+\/\S*\.\w|\S+\t)/;
/** One on its old side, left alone. */
const OLD_NAME = /^--- [abciow]\/\S*\.\w/;
const INDENTED = /^\s+(?:@@ -\d|--- \S+\/|\+\+\+ \S+\/|diff --git )/;

/** What a line of text says about itself and those behind it, the first of which is `following`. */
export function lookAtText(area: TextArea, line: string, following: string): { area: TextArea; encoding?: string } {
  const isField = MAIL_FIELD.test(line) && (area === 'remark' || BEHIND_FIELD.test(following));
  if (area !== 'message' && (isField || MESSAGE_START.test(line))) return { area: 'message' };
  const encoding = area === 'message' ? ENCODED.exec(line)?.[1] : undefined;
  if (encoding !== undefined) return { area, encoding };
  if (line === '---' && (area === 'message' || area === 'remark')) return { area: 'notes' };
  if (area === 'diff' && (line === '-- ' || line === '--')) return { area: 'signature' };
  return { area };
}

/**
 * Whether a line of text could be part of a change that got out of its hunk, or of one in another format. Behind a
 * file's header anything that begins as a hunk's line does. A message may quote diffs, and has lists of `-` and `+`:
 * there only what git and patch would take for a diff does.
 */
export function looksLikeChange(area: TextArea, line: string): boolean {
  if (/^@@ -\d/.test(line) || OTHER_FORMAT.test(line) || NEW_NAME.test(line)) return true;
  switch (area) {
    case 'message':
      return false;
    case 'notes':
      return isCode(line) || OLD_NAME.test(line);
    case 'remark':
      return isCode(line) || OLD_NAME.test(line) || INDENTED.test(line);
    case 'signature':
      return /^(?:[-+@]|[!<>] )/.test(line) && !/^-----(?:BEGIN|END) PGP [A-Z ]+-----$/.test(line)
        ? true
        : INDENTED.test(line);
    case 'diff':
      if (line.trim() === '' || line === '-- ' || line === '--') return false;
      return /^[-+ \t\\@]|^[!<>] |^\*\*\* |^\d+(?:,\d+)?[acd]$/.test(line);
  }
}

/** A changed line of C: `-\tkfree(p);`, `+}`. Items of a list have one space, whatever they end with. */
function isCode(line: string): boolean {
  return /^[-+](?:\t|(?:\S| {2}).*[;{}]\s*$|[{}]\s*$)/.test(line);
}
