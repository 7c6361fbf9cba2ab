/** Folders at the top of a kernel tree (Linux 4.19 to 6.18). */
const TOP_FOLDERS = new Set(
  'Documentation LICENSES arch block certs crypto drivers firmware fs include init io_uring ipc kernel lib mm net rust samples scripts security sound tools usr virt'.split(
    ' ',
  ),
);
const TOP_FILES = new Set(
  'COPYING CREDITS Kbuild Kconfig MAINTAINERS Makefile README .clang-format .cocciconfig .editorconfig .get_maintainer.ignore .gitattributes .gitignore .mailmap .rustfmt.toml'.split(
    ' ',
  ),
);

/**
 * What git puts in front: `a/`, `b/`, or with diff.mnemonicPrefix `i/` (index), `w/` (work tree), `c/` (commit), `o/`
 * (object).
 */
const GIT_PREFIX = /^[abciow]$/;
/**
 * A folder that holds a kernel tree by its name: `linux-6.1`, `src`, `6.1.170.orig`. One called `x86` may be inside the
 * tree.
 */
const TREE_FOLDER = /linux|kernel|^src$|source|orig|\d\.\d/i;
/** What people add to the name of the copy that they do not edit. */
const ORIGINAL_ENDING = /(?:\.orig|\.old|\.bak|~)$/;
const EDITED_ENDING = /\.(?:new|mod|patched)$/;

/**
 * Which file of the kernel two names of a patch mean. `unsafe`: a name that leads out of the tree; `renamed`: two
 * files; `unclear`: the place of the tree in a name is not certain.
 */
export type PathFinding =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'unsafe'; readonly name: string }
  | { readonly kind: 'renamed'; readonly from: string; readonly to: string }
  | { readonly kind: 'unclear'; readonly why: string };

/** `from`, `to`: the names as the patch has them; `undefined` for `/dev/null`. At least one must be there. */
export function fileOfNames(from: string | undefined, to: string | undefined): PathFinding {
  const names = [from, to].flatMap((name) => (name === undefined ? [] : [withoutDot(name)]));
  const outside = names.find(leadsOutside);
  if (outside !== undefined) return { kind: 'unsafe', name: outside };
  const [before, after = before] = names;
  if (before === undefined || after === undefined) return { kind: 'unclear', why: 'it has no name' };
  if (ORIGINAL_ENDING.test(after) && before === after.replace(ORIGINAL_ENDING, '')) {
    return { kind: 'unclear', why: `"${after}" is the original: the patch is the wrong way round` };
  }
  const edited = EDITED_ENDING.test(before) ? after : after.replace(EDITED_ENDING, '');
  const original = ORIGINAL_ENDING.test(after) ? before : before.replace(ORIGINAL_ENDING, '');
  // Without the endings only where the names are the same file then: `a.c.orig` and `b.c` are two.
  for (const [one, other] of [
    [before, after],
    [original, edited],
  ] as const) {
    const path = commonPath(one, other);
    if (path !== undefined) return { kind: 'path', path };
  }
  const [one, other] = [inTree(before, after), inTree(after, before)];
  if (one !== undefined && other !== undefined && !isTail(one, other) && !isTail(other, one)) {
    return { kind: 'renamed', from: one, to: other };
  }
  const shown = before === after ? `"${before}"` : `"${before}" and "${after}"`;
  return { kind: 'unclear', why: `${shown}: where the kernel tree begins in it is not certain` };
}

/** The same file behind both names, by a place of the tree's top that is certain in each. */
function commonPath(one: string, other: string): string | undefined {
  const [first, second] = [inTree(one, other), inTree(other, one)];
  if (first === second) return first;
  // `a/kernel/fork.c` and `fork.c`: one tells the whole path, the other its end.
  if (first !== undefined && isFromTop(first.split('/')) && isTail(other, first)) return first;
  if (second !== undefined && isFromTop(second.split('/')) && isTail(one, second)) return second;
  return undefined;
}

/** The part of a name below the top of the tree. */
function inTree(name: string, other: string): string | undefined {
  const parts = name.split('/');
  const [first = '', second = ''] = parts;
  const below = parts.slice(1);
  if (GIT_PREFIX.test(first) && below.length > 0) {
    // `a/linux-6.1/fs/open.c`: made where the trees lie in folders.
    const deeper = parts.slice(2);
    if (!isFromTop(below) && TREE_FOLDER.test(second) && isFromTop(deeper)) return deeper.join('/');
    return below.join('/');
  }
  if (isFromTop(parts)) return name;
  // Two trees side by side, `linux-6.1/` and `linux-6.1.new/`, or one that is called what trees are.
  const isFolderOfTree = other.split('/')[0] !== first || TREE_FOLDER.test(first);
  return isFolderOfTree && isFromTop(below) ? below.join('/') : undefined;
}

function isFromTop(parts: readonly string[]): boolean {
  const [first = ''] = parts;
  return parts.length === 1 ? TOP_FILES.has(first) : TOP_FOLDERS.has(first);
}

function isTail(tail: string, path: string): boolean {
  return tail === path || path.endsWith(`/${tail}`);
}

function withoutDot(name: string): string {
  return name.replace(/^(?:\.\/)+/, '');
}

function leadsOutside(name: string): boolean {
  return name === '' || name.split('/').some((part) => part === '' || part === '..' || part === '.');
}

/** The name in a `---` or `+++` line, without the time behind it; `undefined` for `/dev/null`. */
export function nameInHeader(line: string): string | undefined {
  const name = (line.slice(4).split('\t')[0] ?? '')
    // A mail program may have made the tab a space.
    .replace(/ {1,4}(?:\d{4}-\d\d-\d\d |[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d |\((?:revision \d|working copy)).*$/, '')
    .trim();
  return name === '/dev/null' ? undefined : name;
}
