import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import type { FixedDifference } from '@kmend/protocol';
import type { UnitCompiler } from '../assemble/compiler.ts';
import { provableView } from '../assemble/proving.ts';
import type { UnitContext, UnitRequest } from '../assemble/request.ts';
import type { ShippedImage } from '../byte-proof/image.ts';
import type { CompileInput } from '../compile/compile.ts';
import { stem } from '../object/names.ts';
import type { ObjectView } from '../object/view.ts';
import { scanFile } from '../review/functions.ts';
import { textOf } from '../review/tokens.ts';
import { headersKey } from '../source/header-tree.ts';
import { markLines } from '../source/lines.ts';
import { minimalPart } from './minimal.ts';
import { compareFunctions, type UnitResult } from './unit.ts';
import type { TrialTree, Upload } from './upload.ts';

/** A unit that is compared with one fixed kernel. */
export interface ComparedUnit {
  readonly context: UnitContext;
  readonly request: UnitRequest;
  readonly compiler: UnitCompiler;
  readonly image: ShippedImage;
  readonly stock: ObjectView;
  /** A folder for copies. */
  readonly scratch: string;
}

export interface Cause {
  readonly cause: FixedDifference['cause'];
  readonly files: readonly string[];
}

/**
 * Trials that are left for a build: each compiles a unit once or twice. A header that reaches fifty units must not make
 * hours of it.
 */
export interface Budget {
  left: number;
}

/** Trials for one unit. */
const TRIALS = 30;

/**
 * Compares functions of one state of a unit, compiled as the builder does and, where that leaves a difference and
 * `layouts` says so, with the shipped flags alone.
 */
export async function compareState(
  { context, request, compiler, image, stock, scratch }: ComparedUnit,
  input: CompileInput,
  functions: readonly string[],
  layouts: 'separate' | 'both' = 'both',
): Promise<UnitResult> {
  const { unit } = request;
  const view = async (layout: CompileInput['layout']): Promise<ObjectView> => {
    const compiled = await compiler.compile({ ...input, layout });
    return await provableView(context, unit, compiler, compiled, join(scratch, `fixed-${layout}.o`));
  };
  const separate = await view('separate');
  const first = compareFunctions(unit, image, [separate], stock, functions);
  if (layouts === 'separate' || first.functions.every(({ equal }) => equal)) return first;
  return compareFunctions(unit, image, [separate, await view('shipped')], stock, functions);
}

/**
 * Why functions of a unit are not what the fixed kernel has: which files, as that kernel's version has them, make them
 * equal when the unit is compiled with them. The fewest that do are named.
 */
export class CauseFinder {
  readonly #unit: ComparedUnit;
  readonly #upload: Upload;
  readonly #tree: TrialTree;
  readonly #budget: Budget;
  readonly #ownText: string | undefined;
  readonly #known = new Map<string, Promise<ReadonlySet<string>>>();
  #left = TRIALS;
  /** Half the compilations, where all that can be equal is so without the shipped layout. */
  #layouts: 'separate' | 'both' = 'both';

  private constructor(
    unit: ComparedUnit,
    upload: Upload,
    tree: TrialTree,
    budget: Budget,
    ownText: string | undefined,
  ) {
    this.#unit = unit;
    this.#upload = upload;
    this.#tree = tree;
    this.#budget = budget;
    this.#ownText = ownText;
  }

  static async open(unit: ComparedUnit, upload: Upload, tree: TrialTree, budget: Budget): Promise<CauseFinder> {
    return new CauseFinder(unit, upload, tree, budget, await upload.text(unit.request.unit.source));
  }

  /** The cause of each of these functions' differences. */
  async causesOf(functions: readonly string[]): Promise<ReadonlyMap<string, Cause>> {
    const causes = new Map<string, Cause>();
    const candidates = this.#budget.left > 0 ? await this.#candidates() : undefined;
    const whole = candidates === undefined ? undefined : await this.#equalWith(candidates, functions);
    if (candidates !== undefined && whole !== undefined) {
      const input = await this.#input(candidates);
      const separate = equalOf(await compareState(this.#unit, input, functions, 'separate'));
      if (separate.size === whole.size) this.#layouts = 'separate';
    }
    // Most often it is the file itself, or what it was for another function: one trial instead of ten.
    const likely: (readonly string[])[] = candidates === undefined ? [] : [candidates.slice(0, 1)];
    for (const name of functions) {
      if (candidates === undefined || !whole?.has(name)) {
        causes.set(name, { cause: 'unexplained', files: [] });
        continue;
      }
      const holds = async (part: readonly string[]): Promise<boolean | undefined> =>
        (await this.#equalWith(part, functions))?.has(name);
      let files: readonly string[] | undefined;
      for (const part of likely) if (files === undefined && (await holds(part))) files = part;
      if (files === undefined) {
        files = await minimalPart(candidates, holds);
        if (files !== undefined) likely.push(files);
      }
      causes.set(name, this.#causeOf(name, files ?? candidates));
    }
    return causes;
  }

  #causeOf(name: string, files: readonly string[]): Cause {
    const { unit, patched } = this.#unit.request;
    if (!files.every((path) => path === unit.source)) return { cause: 'other-files', files };
    return { cause: ownCause(stem(name), unmarked(patched.text), unmarked(this.#ownText ?? '')), files };
  }

  /**
   * Files of the version that differ from what the unit was compiled of, its own first; `undefined` where it cannot be
   * compiled.
   */
  async #candidates(): Promise<readonly string[] | undefined> {
    const { unit, patched } = this.#unit.request;
    const headers = await this.#upload.headers();
    const all = [unit.source, ...headers.keys()];
    const input = await this.#input(all);
    if (!(await this.#unit.compiler.compiles(input))) return undefined;
    const { included } = await this.#unit.compiler.compile(input);
    const differing = [...headers].filter(([path, text]) => {
      const ours = patched.headers.get(path);
      return Object.hasOwn(included, path) && (ours === undefined || unmarked(ours) !== unmarked(text));
    });
    const folder = unit.source.slice(0, unit.source.lastIndexOf('/') + 1);
    const near = (path: string): number => (path.startsWith(folder) ? 0 : path.startsWith('include/net') ? 1 : 2);
    const paths = differing.map(([path]) => path).sort((a, b) => near(a) - near(b) || (a < b ? -1 : 1));
    return [unit.source, ...paths];
  }

  async #equalWith(files: readonly string[], functions: readonly string[]): Promise<ReadonlySet<string> | undefined> {
    const key = [...files].sort().join('\0');
    const known = this.#known.get(key);
    if (known !== undefined) return await known;
    if (this.#left-- <= 0 || this.#budget.left-- <= 0) return undefined;
    const asked = this.#trial(files, functions);
    this.#known.set(key, asked);
    return await asked;
  }

  async #trial(files: readonly string[], functions: readonly string[]): Promise<ReadonlySet<string>> {
    try {
      return equalOf(await compareState(this.#unit, await this.#input(files), functions, this.#layouts));
    } catch (error) {
      // Some files only compile together.
      if (errorCode(error) === 'patch-does-not-compile') return new Set();
      throw error;
    }
  }

  async #input(files: readonly string[]): Promise<CompileInput> {
    const { unit, patched } = this.#unit.request;
    const upload = await this.#upload.headers();
    const headers = new Map(patched.headers);
    for (const path of files) {
      const text = upload.get(path);
      if (text !== undefined) headers.set(path, text);
    }
    await this.#tree.change(headers);
    const isOwn = files.includes(unit.source) && this.#ownText !== undefined;
    const text = isOwn ? markLines(unit.source, this.#ownText ?? '', []) : patched.text;
    return { text, root: this.#tree.root, headersKey: headersKey(headers), layout: 'separate' };
  }
}

function equalOf({ functions }: UnitResult): ReadonlySet<string> {
  return new Set(functions.filter(({ equal }) => equal).map(({ name }) => name));
}

/** What of a file's other changes concerns a function: its own text, that of others, or only where the lines are. */
export function ownCause(name: string, ours: string, theirs: string): Cause['cause'] {
  if (ours === theirs) return 'line-numbers';
  // `foo.isra` is code of `foo`.
  const own = name.replace(/\..*/, '');
  const [body, fixed] = [ours, theirs].map((text) => textOf(scanFile(text).functions.get(own) ?? []));
  return body === fixed ? 'own-file' : 'own-function';
}

/** A text without the marks of `markLines`. */
function unmarked(text: string): string {
  return text.replaceAll(/^#line \d+(?: "[^"\n]*")?\n/gm, '');
}
