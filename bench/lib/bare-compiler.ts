import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import { sandboxed } from '@kmend/toolchain';
import { z } from 'zod';

const Command = z.object({ compiler: z.string(), compilerArguments: z.array(z.string()) });

export interface FixOfOneFile {
  readonly id: string;
  readonly path: string;
}

/** The compiler alone, on one file before and after a fix, with the flags Kbuild uses. */
export class BareCompiler {
  readonly #command: z.infer<typeof Command>;
  readonly #source: string;
  readonly #fix: FixOfOneFile;
  readonly #inputs: readonly string[];
  readonly #scratch: string;

  /** `source`: the kernel's source tree; `inputs`: the file before and after the fix. */
  private constructor(
    command: z.infer<typeof Command>,
    fix: FixOfOneFile,
    {
      source,
      inputs,
      scratch,
    }: { readonly source: string; readonly inputs: readonly string[]; readonly scratch: string },
  ) {
    this.#command = command;
    this.#source = source;
    this.#fix = fix;
    this.#inputs = inputs;
    this.#scratch = scratch;
  }

  /**
   * `tree`: the kernel's folder of prepared trees, in which a build of the fix has asked for the flags; `home` has the
   * fix.
   */
  static async of(tree: string, home: string, fix: FixOfOneFile, scratch: string): Promise<BareCompiler> {
    const command = Command.parse(JSON.parse(await readFile(join(tree, 'units', `${fix.path}.json`), 'utf8')));
    const original = join(tree, 'source', fix.path);
    const patched = join(scratch, `${fix.id}.c`);
    await runOk(run, 'patch', ['-s', '-o', patched, original, join(home, 'fixes', fix.id, 'fix.patch')]);
    return new BareCompiler(command, fix, { source: join(tree, 'source'), inputs: [original, patched], scratch });
  }

  async inTurn(): Promise<void> {
    for (const index of this.#inputs.keys()) await this.#compile(index);
  }

  /** The same in the builder's sandbox. */
  async confinedInTurn(): Promise<void> {
    for (const [index, input] of this.#inputs.entries()) {
      const output = this.#output(index);
      // What a tool in the sandbox writes has to be there.
      await writeFile(output, '');
      const confined = { root: '/', system: 'compiler', readOnly: [this.#source, input], writable: [output] } as const;
      await this.#compile(index, sandboxed(run, confined));
    }
  }

  async sideBySide(): Promise<void> {
    await Promise.all(this.#inputs.map((_, index) => this.#compile(index)));
  }

  #output(index: number): string {
    return join(this.#scratch, `bare-${index}.o`);
  }

  async #compile(index: number, by = run): Promise<void> {
    const { compiler, compilerArguments } = this.#command;
    const where = ['-iquote', dirname(this.#fix.path), '-c', '-o', this.#output(index), this.#inputs[index] ?? ''];
    await runOk(by, compiler, [...compilerArguments, ...where], { cwd: this.#source });
  }
}
