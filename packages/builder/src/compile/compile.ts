import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import type { Run } from '@kmend/base';
import { exists, sha256 } from '@kmend/base/node';
import { AUTHOR_DIGEST, AUTHOR_INCLUDE } from '../author/header.ts';
import { BuilderError } from '../error.ts';
import type { PreparedTree } from '../tree/prepare.ts';
import type { KnownUnit } from '../tree/unit.ts';
import { generateFor, missingFile } from './generated.ts';

export interface CompileEdges {
  readonly run: Run;
  readonly signal: AbortSignal;
}

/**
 * `separate`: every function and variable in a section of its own, to compare and extract by. `shipped`: Kbuild's flags alone; some
 * jumps between functions are shorter so.
 */
export type Layout = 'separate' | 'shipped';

const ADDED: Readonly<Record<Layout, readonly string[]>> = {
  separate: ['-ffunction-sections', '-fdata-sections'],
  shipped: [],
};

/** What is compiled, beside the unit's own command. */
export interface CompileInput {
  /** The text of the unit. */
  readonly text: string;
  /** Folder that headers are found in: the tree, or one with changed headers. */
  readonly root: string;
  /** Tells apart roots whose headers differ for this unit; empty for the tree. */
  readonly headersKey: string;
  readonly layout: Layout;
}

/** An object in the cache, and the files that were included to make it. */
export interface CompiledUnit {
  readonly object: string;
  /** Path of the dependency list that the compiler wrote, see `includedFiles`. */
  readonly dependencies: string;
}

/** Where an input's object lies, or will lie. Its name stands for everything that goes in: the tree, the command, the headers and the text. */
export function objectKey(tree: PreparedTree, unit: KnownUnit, input: CompileInput): string {
  const { kernel } = tree;
  const args = [...unit.command.compilerArguments, ...ADDED[input.layout]];
  const words = [kernel.buildId, kernel.compiler.text, AUTHOR_DIGEST, unit.spelling, ...args];
  return sha256([...words, input.headersKey, input.text].join('\0'));
}

/** One line of a patch can make gcc write an object of any size. The units of a kernel stay far below. */
export const COMPILER_LIMITS = { memory: 2 ** 32, fileSize: 2 ** 29, cpuSeconds: 600 };

/** Files that one unit includes and that Kbuild makes: a handful at most. */
const GENERATED_LIMIT = 12;

/** A copy of a unit lies elsewhere: what it includes from beside itself is found through -iquote. */
export function placeArguments(unit: Pick<KnownUnit, 'spelling'>): string[] {
  return ['-iquote', dirname(unit.spelling), '-I', AUTHOR_INCLUDE];
}

/** Compiles one text of a unit straight with the compiler; what was compiled before comes from the cache. */
export async function compileUnit(
  edges: CompileEdges,
  tree: PreparedTree,
  unit: KnownUnit,
  input: CompileInput,
  cacheDirectory: string,
): Promise<CompiledUnit> {
  const { compiler, compilerArguments } = unit.command;
  const key = objectKey(tree, unit, input);
  const parent = join(cacheDirectory, 'objects', key.slice(0, 2));
  const compiled = { object: join(parent, `${key}.o`), dependencies: join(parent, `${key}.d`) };
  if (await exists(compiled.object)) return compiled;
  await mkdir(parent, { recursive: true });
  const scratch = await mkdtemp(join(parent, '.compile-'));
  try {
    const source = join(scratch, basename(unit.source));
    const output = join(scratch, 'unit.o');
    const dependencies = join(scratch, 'unit.d');
    await writeFile(source, input.text, 'latin1');
    const where = [...placeArguments(unit), '-MD', '-MF', dependencies, '-c', '-o', output, source];
    for (let left = GENERATED_LIMIT; ; left--) {
      const result = await edges.run(compiler, [...compilerArguments, ...ADDED[input.layout], ...where], {
        cwd: input.root,
        signal: edges.signal,
        timeoutMs: 10 * 60_000,
        limits: COMPILER_LIMITS,
      });
      if (result.exitCode === 0) break;
      const missing = left > 0 ? missingFile(result.stderr) : undefined;
      if (missing !== undefined && (await generateFor(edges, tree, unit, missing, input.root))) continue;
      throw doesNotCompile(unit, result.stderr);
    }
    await rename(dependencies, compiled.dependencies);
    await rename(output, compiled.object);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return compiled;
}

function doesNotCompile({ source }: KnownUnit, said: string): BuilderError {
  const errors = said.split('\n').filter((line) => /\b(?:fatal )?error:/.test(line));
  const shown = (errors.length > 0 ? errors : said.trim().split('\n')).slice(0, 5).join('\n');
  return new BuilderError('patch-does-not-compile', `${source} does not compile:\n${shown}`, {
    hint: 'line numbers are those of the unpatched file; a fix for another kernel series may need others before it',
    details: { errors, places: placesOf(said) },
  });
}

/** Files that errors lie in. Where that is in a macro, what uses it: `WRITE_ONCE(...)` of include/net/tcp.h fails in asm-generic/rwonce.h. */
export function placesOf(said: string): string[] {
  const places: string[] = [];
  let isError = false;
  for (const line of said.split('\n')) {
    const [, place = '', kind, words = ''] =
      /^([^\s:]+):\d+(?::\d+)?: (error|fatal error|warning|note): (.*)$/.exec(line) ?? [];
    if (kind === undefined) continue;
    if (kind !== 'note') isError = kind !== 'warning';
    // The macro that is expanded in the text itself comes last.
    if (isError && kind === 'note' && words.startsWith('in expansion of macro')) places.splice(-1, 1, normalize(place));
    if (isError && kind !== 'note') places.push(normalize(place));
  }
  return [...new Set(places)];
}

/** Files of the tree that a compiled unit includes, by their paths in it. */
export async function includedFiles({ dependencies }: CompiledUnit): Promise<ReadonlySet<string>> {
  const text = await readFile(dependencies, 'utf8');
  const words = text.replaceAll('\\\n', ' ').split(/\s+/);
  return new Set(words.filter((word) => word !== '' && !word.endsWith(':')).map((word) => normalize(word)));
}
