import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import { type ElfFile, readElf } from '@kmend/elf';
import { instructionTails } from '../object/tails.ts';
import { ObjectView } from '../object/view.ts';

/** What matters of the kernel's flags: the code model, tracing, and the builder's own two. */
const FLAGS =
  '-O2 -ffunction-sections -fdata-sections -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -pg -mfentry -mrecord-mcount -fno-jump-tables -fno-asynchronous-unwind-tables -w';

/** Compiles C text as the builder would, for tests on small sources. */
export async function objectOf(text: string): Promise<ObjectView> {
  return await withObjects([['unit.c', text]], [], async ([object = '']) => {
    const file = readElf(await readFile(object));
    const tails = await instructionTails(run, object, file, new AbortController().signal);
    return new ObjectView(file, new Map(), tails);
  });
}

/** The object of one text as it is read, with more flags. The text is C unless `name` says otherwise. */
export async function elfOf(text: string, flags: readonly string[] = [], name = 'unit.c'): Promise<ElfFile> {
  return await withObjects([[name, text]], flags, async ([object = '']) => readElf(await readFile(object)));
}

/** The object that `ld -r` makes of several texts, by file name. */
export async function linkedOf(
  texts: readonly (readonly [string, string])[],
  flags: readonly string[],
): Promise<ElfFile> {
  return await withObjects(texts, flags, async (objects, directory) => {
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
