import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '@kmend/base';
import { exists, runOk } from '@kmend/base/node';
import type { LabEdges } from './edges.ts';
import { LabError } from './error.ts';

const FLAGS = ['-static', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'];

/**
 * Compiles one C file into a static program that runs in any guest; once, as long as source, flags and compiler stay.
 * `name` becomes part of the file name.
 */
export async function compileProgram(edges: LabEdges, name: string, source: string): Promise<string> {
  const { run, signal } = edges;
  let text: Buffer;
  try {
    text = Buffer.concat([await readFile(source), ...(await partsOf(source))]);
  } catch (cause) {
    throw new LabError('lab-program-unknown', `there is no program ${name}: ${errorText(cause)}`, { cause });
  }
  try {
    const compiler = await runOk(run, 'gcc', ['--version'], { signal });
    const key = createHash('sha256').update(text).update(FLAGS.join()).update(compiler).digest('hex').slice(0, 16);
    const program = join(edges.cache, 'programs', `${name}-${key}`);
    if (await exists(program)) return program;
    const temporary = `${program}.${process.pid}.tmp`;
    await mkdir(join(edges.cache, 'programs'), { recursive: true });
    try {
      await runOk(run, 'gcc', [...FLAGS, '-o', temporary, source], { signal });
      await rename(temporary, program);
    } finally {
      await rm(temporary, { force: true });
    }
    return program;
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new LabError('lab-program-failed', `${name} did not compile: ${errorText(cause)}`, { cause });
  }
}

/** What a program of several files includes: the content of the folder beside it that has its name (`exercise/` of `exercise.c`). */
async function partsOf(source: string): Promise<Buffer[]> {
  const folder = source.replace(/\.c$/, '');
  const names = await readdir(folder).catch(() => []);
  return await Promise.all(names.sort().map((name) => readFile(join(folder, name))));
}
