import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import { readElf } from '@kmend/elf';
import { instructionTails } from '../object/tails.ts';
import { ObjectView } from '../object/view.ts';

/** What matters of the kernel's flags: the code model, tracing, and the builder's own two. */
const FLAGS =
  '-O2 -ffunction-sections -fdata-sections -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -pg -mfentry -mrecord-mcount -fno-jump-tables -fno-asynchronous-unwind-tables -w';

/** Compiles C text as the builder would, for tests on small sources. */
export async function objectOf(text: string): Promise<ObjectView> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-gcc-'));
  try {
    const source = join(directory, 'unit.c');
    const object = join(directory, 'unit.o');
    await writeFile(source, text);
    await runOk(run, 'gcc', [...FLAGS.split(' '), '-c', '-o', object, source]);
    const file = readElf(await readFile(object));
    const tails = await instructionTails(run, object, file, new AbortController().signal);
    return new ObjectView(file, new Map(), tails);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
