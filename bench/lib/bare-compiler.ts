import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Run } from '@kmend/base';
import { run, runOk } from '@kmend/base/node';
import type { PreparedTree } from '@kmend/builder';
import { MACHINE, sandboxed } from '@kmend/toolchain';
import { z } from 'zod';

const Command = z.object({ compiler: z.string(), compilerArguments: z.array(z.string()) });

export interface FixOfOneFile {
  readonly id: string;
  readonly path: string;
}

/**
 * The compiler alone, on one file before and after a fix, with the flags Kbuild uses. A kernel whose compiler lies in a
 * build root is compiled there, in the sandbox.
 */
export class BareCompiler {
  readonly #command: z.infer<typeof Command>;
  readonly #tree: PreparedTree;
  readonly #fix: FixOfOneFile;
  readonly #inputs: readonly string[];
  readonly #scratch: string;

  /** `inputs`: the file before and after the fix. */
  private constructor(
    command: z.infer<typeof Command>,
    fix: FixOfOneFile,
    {
      tree,
      inputs,
      scratch,
    }: { readonly tree: PreparedTree; readonly inputs: readonly string[]; readonly scratch: string },
  ) {
    this.#command = command;
    this.#tree = tree;
    this.#fix = fix;
    this.#inputs = inputs;
    this.#scratch = scratch;
  }

  /** `tree`: one in which a build of the fix has asked for the flags; `home` has the fix. */
  static async of(tree: PreparedTree, home: string, fix: FixOfOneFile, scratch: string): Promise<BareCompiler> {
    const flags = join(tree.directory, 'units', `${fix.path.replace(/\.c$/, '.o')}.json`);
    const command = Command.parse(JSON.parse(await readFile(flags, 'utf8')));
    const original = join(tree.source, fix.path);
    const patched = join(scratch, `${fix.id}.c`);
    await runOk(run, 'patch', ['-s', '-o', patched, original, join(home, 'fixes', fix.id, 'fix.patch')]);
    return new BareCompiler(command, fix, { tree, inputs: [original, patched], scratch });
  }

  async inTurn(): Promise<void> {
    for (const index of this.#inputs.keys()) await this.#compile(index);
  }

  /** The same in the builder's sandbox. */
  async confinedInTurn(): Promise<void> {
    for (const index of this.#inputs.keys()) await this.#compile(index, await this.#confined(index));
  }

  async sideBySide(): Promise<void> {
    await Promise.all(this.#inputs.map((_, index) => this.#compile(index)));
  }

  #output(index: number): string {
    return join(this.#scratch, `bare-${index}.o`);
  }

  async #confined(index: number): Promise<Run> {
    const output = this.#output(index);
    // What a tool in the sandbox writes has to be there.
    await writeFile(output, '');
    const readOnly = [this.#tree.source, this.#inputs[index] ?? ''];
    return sandboxed(run, { root: this.#tree.root.directory, system: 'compiler', readOnly, writable: [output] });
  }

  async #compile(index: number, by?: Run): Promise<void> {
    const runs = by ?? (this.#tree.root === MACHINE ? run : await this.#confined(index));
    const { compiler, compilerArguments } = this.#command;
    const where = ['-iquote', dirname(this.#fix.path), '-c', '-o', this.#output(index), this.#inputs[index] ?? ''];
    await runOk(runs, compiler, [...compilerArguments, ...where], { cwd: this.#tree.source });
  }
}
