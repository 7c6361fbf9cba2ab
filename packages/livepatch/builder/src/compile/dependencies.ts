import { dirname, isAbsolute, join, normalize, relative } from 'node:path';
import { AUTHOR_INCLUDE } from '../author/header.ts';
import { BuilderError } from '../error.ts';
import type { KnownUnit } from '../tree/unit.ts';

/** The compiler's own headers (stddef.h); they go with its version, which is a part of every key. */
const COMPILER_HEADERS = /^\/usr\/lib\/gcc\/[^/]+\/[^/]+\/include\//;
/** What the compiler gives the assembler. */
const ASSEMBLER_INPUT = /^\/tmp\/cc\w+\.s$/;

/** The files that a rule for make(1) names behind its target, as gcc and the assembler write them. */
export function prerequisites(rule: string): string[] {
  const words = rule.replaceAll('\\\n', ' ').match(/(?:\\[\s\S]|[^\s\\])+/g) ?? [];
  return words.slice(1).map((word) => word.replaceAll(/\\([ #\\:])/g, '$1').replaceAll('$$', '$'));
}

/** Where a unit is compiled. */
export interface CompiledAt {
  readonly unit: Pick<KnownUnit, 'source'>;
  /** The folder of headers, which the compiler works in. */
  readonly root: string;
  /** The text that is compiled. */
  readonly text: string;
}

/**
 * Files of the tree that a compiler says it read, by their paths in it. `include-outside-tree` for any other but its
 * own headers and kmend's: what lies elsewhere may differ from machine to machine, or be none of the fix's business.
 */
export function includedPaths(rule: string, at: CompiledAt): string[] {
  const paths = new Set<string>();
  for (const name of prerequisites(rule)) {
    if (!isKnown(name, at)) throw outsideTree(at.unit.source, name);
    const path = name === at.text ? undefined : pathInTree(name, at.root);
    if (path !== undefined) paths.add(path);
  }
  return [...paths].sort();
}

/** Files that assembler code takes in: `.incbin`, `.include`. */
export function assembledPaths(rule: string, { text }: CompiledAt): string[] {
  const own = text.slice(text.lastIndexOf('/') + 1);
  // A `.file` of the compiler's own counts as one, too (gas/read.c, `s_file_string`).
  const names = prerequisites(rule).filter((name) => name !== own && name !== text && !ASSEMBLER_INPUT.test(name));
  return [...new Set(names)].sort();
}

/**
 * The error for a file outside the tree that a compiler or an assembler names in its errors: it did not find it,
 * since the sandbox has nothing of the kind, or it found what its own programs bring along, and quotes that.
 * `undefined` where all that it names is in the tree.
 */
export function errorsOutside(at: CompiledAt, said: string): BuilderError | undefined {
  const { source } = at.unit;
  const missing =
    /^(.*?):\d+:\d+: fatal error: (.+): No such file or directory$/m.exec(said) ??
    /^(.*?):\d+: Error: file not found: (.+)$/m.exec(said) ??
    /^(.*?):\d+: Error: can't open (.+) for reading: No such file or directory$/m.exec(said);
  if (missing !== null) {
    const [, includer = '', name = ''] = missing;
    const meant = isAbsolute(name) || ASSEMBLER_INPUT.test(includer) ? name : join(dirname(includer), name);
    if (pathInTree(meant, at.root) === undefined) return outsideTree(source, name);
  }
  for (const [, name = ''] of said.matchAll(/^(?:In file included from |\s+from )?(\/[^:\n]+):(?:\d+|\s)/gm))
    if (!ASSEMBLER_INPUT.test(name) && !isKnown(name, at)) return outsideTree(source, name);
  return undefined;
}

/** The text itself, a file of the tree, or a header that comes with the compiler or with kmend. */
function isKnown(name: string, { text, root }: CompiledAt): boolean {
  return (
    name === text ||
    normalize(name).startsWith(`${AUTHOR_INCLUDE}/`) ||
    COMPILER_HEADERS.test(normalize(name)) ||
    pathInTree(name, root) !== undefined
  );
}

function pathInTree(name: string, root: string): string | undefined {
  const path = isAbsolute(name) ? relative(root, name) : normalize(name);
  return path === '..' || path.startsWith('../') || isAbsolute(path) ? undefined : path;
}

function outsideTree(source: string, name: string): BuilderError {
  return new BuilderError(
    'include-outside-tree',
    `${source} includes ${name.slice(0, 200)}, which is no file of the kernel's source`,
    {
      hint: 'a fix can include only files of the kernel tree; the compiler sees nothing else of this machine',
    },
  );
}
