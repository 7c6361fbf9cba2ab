import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { errorCode, silentProgress } from '@kmend/base';
import { run, systemClock } from '@kmend/base/node';
import { compileProgram } from './programs.ts';

test('compiles a program with the files beside it and nothing else of the machine', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-programs-'));
  t.after(() => rm(directory, { recursive: true }));
  const cache = join(directory, 'cache');
  const { signal } = new AbortController();
  const edges = { run, clock: systemClock, progress: silentProgress, cache, signal };
  const source = join(directory, 'flaw.c');
  const secret = join(directory, 'secret');
  await writeFile(secret, 'SECRET_OF_THE_OPERATOR');
  await mkdir(join(directory, 'flaw'));
  await writeFile(join(directory, 'flaw', 'text.h'), '#define TEXT "vulnerable"\n');
  const main = '#include <stdio.h>\n#include "flaw/text.h"\nint main(void) { puts(TEXT); return 1; }\n';
  await writeFile(source, main);
  const program = await compileProgram(edges, 'flaw', source);
  const { exitCode, stdout } = await run(program, []);
  assert.deepEqual([exitCode, stdout.toString()], [1, 'vulnerable\n']);
  assert.equal(await compileProgram(edges, 'flaw', source), program);
  // As a user names it: from the working folder.
  assert.equal(await compileProgram(edges, 'flaw', relative(process.cwd(), source)), program);
  for (const added of [`asm(".incbin \\"${secret}\\"");`, `#include "${secret}"`, '#include "/etc/hostname"']) {
    await writeFile(source, `${main}${added}\n`);
    await assert.rejects(compileProgram(edges, 'flaw', source), (error) => {
      assert.equal(errorCode(error), 'lab-program-failed');
      return !String(error).includes('SECRET');
    });
  }
  assert.equal((await readdir(join(cache, 'programs'))).length, 1);
});
