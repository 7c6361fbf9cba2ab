import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { type Edges, parseJson } from '@kmend/base';
import { EdgeError, exists, sha256 } from '@kmend/base/node';
import { z } from 'zod';
import { AUTHOR_DIGEST, AUTHOR_INCLUDE } from '../author/header.ts';
import { confined } from '../confine.ts';
import { BuilderError } from '../error.ts';
import type { PreparedTree } from '../tree/tree.ts';
import type { KnownUnit } from '../tree/unit.ts';
import { assembledPaths, errorsOutside, includedPaths } from './dependencies.ts';
import { generateFor, missingFile } from './generated.ts';
import { contentHashes, isUnchanged } from './hashes.ts';

/**
 * `separate`: every function and variable in a section of its own, to compare and extract by. `shipped`: Kbuild's flags
 * alone; some jumps between functions are shorter so.
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

/** What an object was made of beside the text of its unit. */
const Dependencies = z.object({
  /** Files of the tree that it includes: path to SHA-256. */
  included: z.record(z.string(), z.string()),
  /** Files that its assembler code takes in (`.incbin`, `.include`), as it names them. */
  assembled: z.array(z.string()),
});

/** An object in the cache, and what it was made of. */
export interface CompiledUnit extends z.infer<typeof Dependencies> {
  /** Its path. */
  readonly object: string;
}

/**
 * Where an input's object lies, or will lie. Its name stands for everything that goes in: the tree, the command, the
 * headers and the text. That the files of the tree are still what they were is looked at when it is taken from the
 * cache.
 */
export function objectKey(tree: PreparedTree, unit: KnownUnit, input: CompileInput): string {
  const { kernel } = tree;
  const args = [...unit.command.compilerArguments, ...ADDED[input.layout]];
  // The same compiler with another assembler may make another object.
  const system = tree.root.contents === undefined ? [] : [tree.root.contents.digest];
  const words = ['confined', ...system, kernel.buildId, kernel.compiler.text, AUTHOR_DIGEST, unit.spelling, ...args];
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
  edges: Pick<Edges, 'run' | 'signal'>,
  tree: PreparedTree,
  unit: KnownUnit,
  input: CompileInput,
  cacheDirectory: string,
): Promise<CompiledUnit> {
  const { compiler, compilerArguments } = unit.command;
  const key = objectKey(tree, unit, input);
  const parent = join(cacheDirectory, 'objects', key.slice(0, 2));
  const object = join(parent, `${key}.o`);
  const known = await readDependencies(`${object}.json`);
  if (known !== undefined && isUnchanged(tree, input.root, known.included) && (await exists(object)))
    return { object, ...known };
  await mkdir(parent, { recursive: true });
  const scratch = await mkdtemp(join(parent, '.compile-'));
  try {
    const source = join(scratch, basename(unit.source));
    const [output, included, assembled] = ['o', 'd', 's.d'].map((end) => join(scratch, `unit.${end}`)) as [
      string,
      string,
      string,
    ];
    await writeFile(source, input.text, 'latin1');
    const at = { unit, root: input.root, text: source };
    const run = await confined(edges.run, tree.root, [input.root, source], [output, included, assembled]);
    const where = [
      ...placeArguments(unit),
      '-MD',
      '-MF',
      included,
      `-Wa,--MD,${assembled}`,
      '-c',
      '-o',
      output,
      source,
    ];
    for (let left = GENERATED_LIMIT; ; left--) {
      const result = await run(compiler, [...compilerArguments, ...ADDED[input.layout], ...where], {
        cwd: input.root,
        signal: edges.signal,
        timeoutMs: 10 * 60_000,
        limits: COMPILER_LIMITS,
      });
      if (result.exitCode === 0) break;
      const missing = left > 0 ? missingFile(result.stderr) : undefined;
      if (missing !== undefined && (await generateFor(edges, tree, unit, missing, input.root))) continue;
      throw brokenLimit(unit, result.stderr) ?? errorsOutside(at, result.stderr) ?? doesNotCompile(unit, result.stderr);
    }
    const dependencies = {
      included: contentHashes(tree, input.root, includedPaths(await readFile(included, 'latin1'), at)),
      assembled: assembledPaths(await readFile(assembled, 'latin1'), at),
    };
    await writeFile(join(scratch, 'dependencies'), JSON.stringify(dependencies));
    // No reader takes one before both exist.
    await rm(`${object}.json`, { force: true });
    await rename(output, object);
    await rename(join(scratch, 'dependencies'), `${object}.json`);
    return { object, ...dependencies };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function readDependencies(path: string): Promise<z.infer<typeof Dependencies> | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : Dependencies.safeParse(parseJson(text)).data;
}

/**
 * What gcc says of a part of it that a limit ended (gcc.cc, `execute`), and what that part says where memory or space
 * ran out.
 */
const LIMITS = [
  /^\S*gcc\S*: .*error: (?:Killed|CPU time limit exceeded|File size limit exceeded) signal terminated program/m,
  /^(?:cc1: out of memory|virtual memory exhausted)/m,
  /^\S*: (?:fatal error|Fatal error|final close failed|error): .*(?:No space left on device|Cannot allocate memory)/m,
];

function brokenLimit({ source }: KnownUnit, said: string): EdgeError | undefined {
  if (!LIMITS.some((limit) => limit.test(said))) return undefined;
  return new EdgeError(
    'tool-limit',
    `compiling ${source} took more than a compiler may: ${said.trim().split('\n').at(-1)?.slice(0, 200)}`,
    {
      hint: 'no file of a kernel needs this much: the fix is damaged or hostile',
    },
  );
}

function doesNotCompile({ source }: KnownUnit, said: string): BuilderError {
  const errors = said.split('\n').filter((line) => /\b(?:fatal )?error:/.test(line));
  const shown = (errors.length > 0 ? errors : said.trim().split('\n')).slice(0, 5).join('\n');
  return new BuilderError('patch-does-not-compile', `${source} does not compile:\n${shown}`, {
    hint: 'line numbers are those of the unpatched file; a fix for another kernel series may need others before it',
    details: { errors, places: placesOf(said) },
  });
}

/**
 * Files that errors lie in. Where that is in a macro, what uses it: `WRITE_ONCE(...)` of include/net/tcp.h fails in
 * asm-generic/rwonce.h.
 */
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
