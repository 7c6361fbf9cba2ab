import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { run, runOk } from '@kmend/base/node';
import type { Kernel } from './kernel.ts';
import { moduleFiles, moduleSymbols, readModule } from './modules.ts';
import { hasCode } from './testing/errors.ts';
import { folder } from './testing/folder.ts';

/** Two units with a static function of one name each, linked as Kbuild links a module. */
async function makeModule(directory: string): Promise<Buffer> {
  const unit = (value: number): string =>
    `static __attribute__((noinline)) int twice(int x) { return x * ${value}; }\n` +
    `int outside(void);\nint global_${value}(int x) { return twice(x) + outside(); }\n`;
  for (const value of [3, 5]) {
    const source = join(directory, `unit${value}.c`);
    await writeFile(source, unit(value));
    await runOk(run, 'gcc', ['-O2', '-fno-pic', '-c', source, '-o', `${source}.o`]);
  }
  const module = join(directory, 'linked.o');
  await runOk(run, 'ld', ['-r', '-o', module, join(directory, 'unit3.c.o'), join(directory, 'unit5.c.o')]);
  return await runOk(run, 'cat', [module]);
}

test('lists symbols in the order of the table, each of a name, without undefined ones, sections and files', async (t) => {
  const directory = await folder(t);
  const path = join(directory, 'plain.ko');
  await writeFile(path, await makeModule(directory));
  const symbols = moduleSymbols(await readModule(path));
  assert.deepEqual(symbols.map(({ name, type }) => `${type} ${name}`).sort(), [
    'T global_3',
    'T global_5',
    't twice',
    't twice',
  ]);
  const [first, second] = symbols.filter(({ name }) => name === 'twice');
  assert.ok(first !== undefined && second !== undefined && first.address < second.address);
  const nm = (await runOk(run, 'nm', ['--no-sort', '--defined-only', path])).toString('utf8');
  assert.deepEqual(
    symbols.map(({ name }) => name),
    nm
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[2]),
  );
});

test('reads modules in each compression of the suites, and reports damaged and missing ones', async (t) => {
  const directory = await folder(t);
  const module = await makeModule(directory);
  const packed = {
    xz: await runOk(run, 'xz', ['--check=crc32', '-c'], { stdin: module }),
    zst: zstdCompressSync(module),
    gz: gzipSync(module),
  };
  for (const [suffix, bytes] of Object.entries(packed)) {
    const path = join(directory, `${suffix}-module.ko`);
    await writeFile(`${path}.${suffix}`, bytes);
    assert.equal(moduleSymbols(await readModule(path)).length, 4, suffix);
    await writeFile(`${path}.${suffix}`, bytes.subarray(0, bytes.length / 2));
    await assert.rejects(readModule(path), hasCode('module-unreadable'), suffix);
  }
  await assert.rejects(readModule(join(directory, 'absent.ko')), hasCode('module-unreadable'));
});

async function kernelWith(t: TestContext, order: string): Promise<Kernel> {
  const directory = await folder(t);
  const modules = join(directory, 'modules');
  await mkdir(modules);
  await writeFile(join(modules, 'modules.order'), order);
  const paths = {
    directory,
    modules,
    vmlinuz: '',
    vmlinux: '',
    config: '',
    moduleSymvers: '',
    sourceTarball: '',
  };
  return {
    release: '6.1.0-99-amd64',
    buildId: '0'.repeat(40),
    version: '6.1.199-1',
    sourcePackage: 'linux-source-6.1',
    suite: 'bookworm',
    arch: 'x86_64',
    compiler: { text: 'gcc-12', command: 'gcc-12' },
    paths,
  };
}

test('reads modules.order with names as in /proc/modules', async (t) => {
  const kernel = await kernelWith(t, 'kernel/net/nf-tables.ko\nkernel/crypto/af_alg.o\n\n');
  assert.deepEqual(Object.fromEntries(await moduleFiles(kernel)), {
    nf_tables: join(kernel.paths.modules, 'kernel/net/nf-tables.ko'),
    af_alg: join(kernel.paths.modules, 'kernel/crypto/af_alg.ko'),
  });
  await rm(join(kernel.paths.modules, 'modules.order'));
  await assert.rejects(moduleFiles(kernel), hasCode('kernel-record'));
});
