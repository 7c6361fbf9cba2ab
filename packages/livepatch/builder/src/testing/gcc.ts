import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import { type ElfFile, readElf } from '@kmend/elf';
import { ObjectView } from '../object/view.ts';

/** What matters of the kernel's flags: the code model and tracing. */
const FLAGS =
  '-O2 -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -pg -mfentry -mrecord-mcount -fno-jump-tables -fno-asynchronous-unwind-tables -w';

/** The builder's own two. */
const SEPARATE = ['-ffunction-sections', '-fdata-sections'];

export interface CompileOptions {
  /**
   * `joined`: as Kbuild compiles, all functions in `.text`; default: each in a section of its own, as the builder does.
   */
  readonly layout?: 'separate' | 'joined';
  /** `s`: assembler text. */
  readonly language?: 'c' | 's';
  readonly flags?: readonly string[];
}

/** Compiles a small text; the object's bytes. */
export async function compiled(text: string, options: CompileOptions = {}): Promise<Buffer> {
  const { layout = 'separate', language = 'c', flags = [] } = options;
  const all = [...(layout === 'separate' ? SEPARATE : []), ...flags];
  return await withObjects([[`unit.${language}`, text]], all, async ([object = '']) => await readFile(object));
}

export async function assembled(text: string): Promise<ElfFile> {
  return readElf(await compiled(text, { language: 's' }));
}

/** Compiles C text as the builder would, for tests on small sources. */
export async function objectOf(text: string, options: CompileOptions = {}): Promise<ObjectView> {
  return new ObjectView(readElf(await compiled(text, options)), new Map());
}

/** The object of one text as it is read, with more flags. The text is C unless `name` says otherwise. */
export async function elfOf(text: string, flags: readonly string[] = [], name = 'unit.c'): Promise<ElfFile> {
  return await withObjects([[name, text]], [...SEPARATE, ...flags], async ([object = '']) =>
    readElf(await readFile(object)),
  );
}

/** The object that `ld -r` makes of several texts, by file name. */
export async function linkedOf(
  texts: readonly (readonly [string, string])[],
  flags: readonly string[],
): Promise<ElfFile> {
  return await withObjects(texts, [...SEPARATE, ...flags], async (objects, directory) => {
    const whole = join(directory, 'whole.o');
    await runOk(run, 'ld', ['-r', '-o', whole, ...objects]);
    return readElf(await readFile(whole));
  });
}

async function withObjects<T>(
  texts: readonly (readonly [string, string])[],
  flags: readonly string[],
  use: (objects: readonly string[], directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-gcc-'));
  try {
    const objects: string[] = [];
    for (const [name, text] of texts) {
      await writeFile(join(directory, name), text);
      const object = `${name}.o`;
      // Relative paths: the debug information of two compilations of one text is the same.
      await runOk(run, 'gcc', [...FLAGS.split(' '), ...flags, '-c', '-o', object, name], { cwd: directory });
      objects.push(join(directory, object));
    }
    return await use(objects, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
