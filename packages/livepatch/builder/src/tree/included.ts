import { readFile } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { type Edges, parseJson } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import { BuilderError } from '../error.ts';
import { oncePerTree } from './once.ts';
import { ELSEWHERE, sourceFiles } from './source-files.ts';
import type { PreparedTree } from './tree.ts';

/** How a name is resolved: what is kept of another rule is read anew. */
const RULE = 2;

/** By file: what it includes. A leading `/`: this very path of the tree; else any file whose path ends so. */
const Kept = z.object({ rule: z.literal(RULE), included: z.record(z.string(), z.array(z.string())) });

const KeptTexts = z.object({ rule: z.literal(RULE), texts: z.array(z.string()) });

const LISTING_LIMIT = 256 << 20;
/**
 * Includes, and macros that name a file for one (`#include GENL_MAGIC_INCLUDE_FILE`,
 * include/linux/genl_magic_struct.h).
 */
const DIRECTIVES =
  '^[[:space:]]*#[[:space:]]*(include|include_next|import)([^_[:alnum:]]|$)|^[[:space:]]*#[[:space:]]*define[[:space:]]+([A-Z_]*INCLUDE_FILE[[:space:]]|[A-Za-z_0-9]+[[:space:]]+["<][^">]+\\.(h|c|S|inc)[">])';

/**
 * Who can include what, in the whole tree. It may know of an include that does not happen, never miss one that does.
 */
export class IncludeGraph {
  /** By the last part of an included name: includers, and what they wrote. */
  readonly #byName = new Map<string, { readonly includer: string; readonly target: string }[]>();
  readonly #targets = new Map<string, readonly string[]>();

  constructor(included: Iterable<readonly [includer: string, targets: readonly string[]]>) {
    for (const [includer, targets] of included) {
      this.#targets.set(includer, targets);
      for (const target of targets) {
        const name = basename(target);
        const known = this.#byName.get(name);
        if (known === undefined) this.#byName.set(name, [{ includer, target }]);
        else known.push({ includer, target });
      }
    }
  }

  /**
   * What a file includes, as it is named there: with a leading `/` a path of the tree, else a name on the search path.
   */
  targetsOf(path: string): readonly string[] {
    return this.#targets.get(path) ?? [];
  }

  /**
   * Every file that can contain the text of `path`: its includers, theirs, and so on. `path` itself only where it
   * includes itself.
   */
  containersOf(path: string): ReadonlySet<string> {
    const found = new Set<string>();
    const open = [path];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      for (const { includer, target } of this.#byName.get(basename(next)) ?? []) {
        if (found.has(includer) || !isMeant(target, next) || isForeign(target, next, includer)) continue;
        found.add(includer);
        open.push(includer);
      }
    }
    return found;
  }
}

/** Reads the tree's include directives once; the answer is kept beside the tree. */
export const includeGraph = oncePerTree(async (edges, tree): Promise<IncludeGraph> => {
  const known = Kept.safeParse(parseJson(await readFile(graphPath(tree), 'utf8').catch(() => '')));
  return new IncludeGraph(known.success ? Object.entries(known.data.included) : await readTree(edges, tree));
});

/**
 * Tells which files that are no headers others include all the same (fs/binfmt_elf.c), whether or not they are units of
 * their own. Far less to read than the whole graph.
 */
export const includedTexts = oncePerTree(async (edges, tree): Promise<(path: string) => boolean> => {
  const read = async () => KeptTexts.safeParse(parseJson(await readFile(textsPath(tree), 'utf8').catch(() => '')));
  let known = await read();
  if (!known.success) {
    await readTree(edges, tree);
    known = await read();
  }
  const byName = Map.groupBy(known.data?.texts ?? [], (target) => basename(target));
  return (path) => byName.get(basename(path))?.some((target) => isMeant(target, path)) ?? false;
});

/**
 * Of what is left out of the graph some is included: tools/lib/bpf/relo_core.h by kernel/bpf/btf.c, scripts/dtc/libfdt
 * by include/linux/libfdt.h.
 */
const filesOfUse = oncePerTree((edges, tree) => sourceFiles(edges, tree, ['Documentation', 'samples']));

/** All files that compiling a unit may read beside its own: headers, and what else some file includes. */
export const includableFiles = oncePerTree(async (edges, tree): Promise<readonly string[]> => {
  const isIncluded = await includedTexts(edges, tree);
  const files = await filesOfUse(edges, tree);
  return files.filter((path) => !/\.[cS]$/.test(path) || /^(?:tools|scripts)\//.test(path) || isIncluded(path));
});

/** All folders that files lie in, of units or of headers. */
export const sourceFolders = oncePerTree(async (edges, tree): Promise<readonly string[]> => {
  return [...new Set((await filesOfUse(edges, tree)).map((path) => dirname(path)))];
});

function graphPath(tree: PreparedTree): string {
  return join(tree.directory, 'includes.json');
}

function textsPath(tree: PreparedTree): string {
  return join(tree.directory, 'included-texts.json');
}

/** Whether a name, as `targetsOf` has it, can mean a file. */
export function isMeant(target: string, path: string): boolean {
  return target === `/${path}` || `/${path}`.endsWith(`/${target}`);
}

/**
 * Whether a name on the search path leads to another architecture's file: `asm/io.h` never means arch/arm64's, except
 * within that folder.
 */
function isForeign(target: string, path: string, includer: string): boolean {
  const [folder] = /^arch\/(?!x86\/)\w+\//.exec(path) ?? [];
  return folder !== undefined && !target.startsWith('/') && !includer.startsWith(folder);
}

async function readTree(
  edges: Pick<Edges, 'run' | 'progress' | 'signal'>,
  tree: PreparedTree,
): Promise<ReadonlyMap<string, readonly string[]>> {
  edges.progress.step(`find what each file of ${tree.kernel.release} includes`);
  const files = await sourceFiles(edges, tree, ELSEWHERE);
  const result = await edges.run('xargs', ['-d', '\\n', '-n', '2000', 'grep', '-HE', DIRECTIVES], {
    cwd: tree.source,
    stdin: `${files.join('\n')}\n`,
    signal: edges.signal,
    maxOutput: LISTING_LIMIT,
    env: { PATH: '/usr/bin:/bin', LANG: 'C', LC_ALL: 'C' },
  });
  // xargs(1): 123 where a grep found nothing in its files; anything else means that files were not read.
  if (result.exitCode !== 0 && (result.exitCode !== 123 || result.stderr !== '')) {
    throw new BuilderError('tree-failed', `the include directives cannot be read: ${result.stderr.trim().slice(-300)}`);
  }
  const present = new Set(files);
  const included = new Map<string, string[]>();
  for (const line of result.stdout.toString('latin1').split('\n')) {
    const colon = line.indexOf(':');
    const includer = line.slice(0, colon);
    const target = targetOf(includer, line.slice(colon + 1), present);
    if (colon === -1 || target === undefined) continue;
    const known = included.get(includer);
    if (known === undefined) included.set(includer, [target]);
    else known.push(target);
  }
  const texts = [...new Set([...included.values()].flat())].filter((target) => !target.endsWith('.h'));
  await writeFileAtomic(textsPath(tree), JSON.stringify({ rule: RULE, texts }));
  await writeFileAtomic(graphPath(tree), JSON.stringify({ rule: RULE, included: Object.fromEntries(included) }));
  return included;
}

/**
 * What a directive includes. `undefined` for one that names no file itself: the macro that it names is defined
 * elsewhere, and counted there.
 */
export function targetOf(includer: string, directive: string, present: ReadonlySet<string>): string | undefined {
  // include/trace/define_trace.h: #include TRACE_INCLUDE(TRACE_INCLUDE_FILE), without the `.h`.
  const traced = /#\s*define\s+\w*INCLUDE_FILE\s+([\w./-]+)\s*$/.exec(directive)?.[1];
  if (traced !== undefined) {
    const named = normalize(`${traced}.h`).replace(UPWARDS, '');
    // A header of tracepoints names itself: every other folder has a trace.h too.
    return isMeant(named, includer) ? `/${includer}` : named;
  }
  const [, quote, name] =
    /#\s*(?:include|include_next|import|define\s+\w+)\s*(?:\/\*.*?\*\/\s*)?(["<])([^">]+)[">]/.exec(directive) ?? [];
  if (name === undefined) return undefined;
  // The compiler looks beside the includer first, and only then along the search path.
  const beside = normalize(join(dirname(includer), name));
  if (quote === '"' && present.has(beside)) return `/${beside}`;
  return normalize(name).replace(UPWARDS, '');
}

const UPWARDS = /^(?:\.\.\/)+/;
