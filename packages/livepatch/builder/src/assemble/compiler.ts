import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '@kmend/base';
import { readElf } from '@kmend/elf';
import { type CompiledUnit, type CompileInput, compileUnit, objectKey } from '../compile/compile.ts';
import { BuilderError } from '../error.ts';
import { ObjectView } from '../object/view.ts';
import type { BuildFacts } from '../shipped-kernel.ts';
import { type ChangedHeaders, headersKey } from '../source/header-tree.ts';
import type { PatchedObject, UnitContext, UnitRequest, UnitState } from './request.ts';

/** Compiles the states of one unit. */
export class UnitCompiler {
  readonly stock: CompileInput;
  readonly #context: UnitContext;
  readonly #request: UnitRequest;
  readonly #compiled = new Map<string, { readonly input: CompileInput; readonly compiled: Promise<CompiledUnit> }>();

  constructor(context: UnitContext, request: UnitRequest) {
    this.#context = context;
    this.#request = request;
    this.stock = { text: request.stock, root: context.tree.source, headersKey: '', layout: 'separate' };
  }

  /** What was compiled before comes from the cache; states that are alike are compiled once. */
  compile(input: CompileInput): Promise<CompiledUnit> {
    const { edges, tree, cache } = this.#context;
    const key = objectKey(tree, this.#request.unit, input);
    const known = this.#compiled.get(key);
    if (known !== undefined) return known.compiled;
    const compiled = compileUnit(edges, tree, this.#request.unit, input, cache);
    this.#compiled.set(key, { input, compiled });
    return compiled;
  }

  /**
   * Files of the tree that all that was compiled includes, without those that a state has changed: their texts are a
   * part of its key.
   */
  async includedFromTree(): Promise<string[]> {
    const { base, patched, below } = this.#request;
    const changed = new Set(
      [base, patched, ...below.map(({ state }) => state)].flatMap(({ headers }) => [...headers.keys()]),
    );
    const { source } = this.#context.tree;
    const paths = new Set<string>();
    for (const { input, compiled } of this.#compiled.values()) {
      // Code of other images (the 32-bit vDSO) may not compile as the kernel's does: nothing is judged by it then.
      if (!(await this.compiles(input))) continue;
      const { included } = await compiled;
      for (const path of Object.keys(included)) if (input.root === source || !changed.has(path)) paths.add(path);
    }
    return [...paths].sort();
  }

  /** What the compiler gets for a state: with the changed headers, if it includes any. */
  async input({ text, headers }: UnitState): Promise<CompileInput> {
    const relevant = await this.#relevant(text, headers);
    if (relevant.size === 0) return { ...this.stock, text };
    const root = await this.#context.headerRoot(headers);
    return { text, root, headersKey: headersKey(relevant), layout: 'separate' };
  }

  /**
   * Those of the changed headers that the unit includes; all where the change may make it include others than before.
   */
  async #relevant(text: string, headers: ChangedHeaders): Promise<ChangedHeaders> {
    if (headers.size === 0) return headers;
    if (directives(text) !== directives(this.#request.stock)) return headers;
    if (!(await this.compiles(this.stock))) return headers;
    const { included } = await this.compile(this.stock);
    const relevant = new Map([...headers].filter(([path]) => Object.hasOwn(included, path)));
    for (const [path, changed] of relevant) {
      const before = await readFile(join(this.#context.tree.source, path), 'latin1');
      if (directives(changed) !== directives(before)) return headers;
    }
    return relevant;
  }

  /** A compiled object, taken apart. */
  async view(path: string, facts: BuildFacts): Promise<ObjectView> {
    return new ObjectView(readElf(await readFile(path)), facts.layouts);
  }

  /** Whether it compiles at all. */
  async compiles(input: CompileInput): Promise<boolean> {
    try {
      await this.compile(input);
      return true;
    } catch (error) {
      if (errorCode(error) === 'patch-does-not-compile') return false;
      throw error;
    }
  }

  /** The patched state alone; the error for one that does not compile also tells what the unit includes. */
  async patched(): Promise<PatchedObject> {
    const stock = await this.compiles(this.stock);
    const includes = new Set(stock ? Object.keys((await this.compile(this.stock)).included) : []);
    // No companion helps here; the build says so.
    if (!stock && this.#request.reached) return { object: undefined, includes };
    try {
      const { object } = await this.compile(await this.input(this.#request.patched));
      return { object, includes };
    } catch (error) {
      if (!(error instanceof BuilderError) || error.code !== 'patch-does-not-compile') throw error;
      const { message, hint, details } = error;
      throw new BuilderError('patch-does-not-compile', message, {
        ...(hint === undefined ? {} : { hint }),
        details: { ...details, includes },
      });
    }
  }
}

/**
 * What decides about which files are included: the includes themselves, conditions, and macros that conditions may ask
 * for.
 */
function directives(text: string): string {
  return [...text.matchAll(/^\s*#\s*(?:include|include_next|if|ifdef|ifndef|elif|else|endif|define|undef)\b.*$/gm)]
    .map(([line]) => line.replaceAll(/\s+/g, ''))
    .join('\n');
}
