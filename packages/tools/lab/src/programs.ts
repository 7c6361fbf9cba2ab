import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errorCode, errorText } from '@kmend/base';
import { exists, runOk } from '@kmend/base/node';
import { sandboxed } from '@kmend/toolchain';
import type { LabEdges } from './edges.ts';
import { LabError } from './error.ts';

/** A reproducer is a few hundred lines. */
const LIMITS = { memory: 2 ** 32, fileSize: 2 ** 27, cpuSeconds: 120 };
const FLAGS = ['-static', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'];

/**
 * Compiles one C file into a static program that runs in any guest; once, as long as source, flags and compiler stay. A
 * reproducer may be anyone's: the compiler sees it and this machine's headers, and nothing else (docs/security.md).
 * `name` becomes part of the file name.
 */
export async function compileProgram(edges: LabEdges, name: string, path: string): Promise<string> {
  const { run, signal } = edges;
  // The compiler works in another folder.
  const source = resolve(path);
  let text: Buffer;
  try {
    text = Buffer.concat([await readFile(source), ...(await partsOf(source))]);
  } catch (cause) {
    throw new LabError('lab-program-unknown', `there is no program ${name}: ${errorText(cause)}`, { cause });
  }
  try {
    const seen = { root: '/', system: 'build', readOnly: [source, ...(await folderOf(source))], writable: [] } as const;
    const compiler = await runOk(sandboxed(run, seen), 'gcc', ['--version'], { signal });
    const key = createHash('sha256').update(text).update(FLAGS.join()).update(compiler).digest('hex').slice(0, 16);
    const program = join(edges.cache, 'programs', `${name}-${key}`);
    if (await exists(program)) return program;
    const temporary = `${program}.${process.pid}.tmp`;
    await mkdir(join(edges.cache, 'programs'), { recursive: true });
    try {
      await writeFile(temporary, '');
      const compile = sandboxed(run, { ...seen, writable: [temporary] });
      await runOk(compile, 'gcc', [...FLAGS, '-o', temporary, source], { signal, limits: LIMITS });
      await rename(temporary, program);
    } finally {
      await rm(temporary, { force: true });
    }
    return program;
  } catch (cause) {
    if (signal.aborted || errorCode(cause) === 'sandbox-unavailable') throw cause;
    throw new LabError('lab-program-failed', `${name} did not compile: ${errorText(cause)}`, { cause });
  }
}

/** The folder beside a program of several files that has its name (`exercise/` of `exercise.c`). */
async function folderOf(source: string): Promise<string[]> {
  const folder = source.replace(/\.c$/, '');
  return folder !== source && (await exists(folder)) ? [folder] : [];
}

async function partsOf(source: string): Promise<Buffer[]> {
  const [folder] = await folderOf(source);
  const names = folder === undefined ? [] : await readdir(folder);
  return await Promise.all(names.sort().map((name) => readFile(join(folder ?? '', name))));
}
