import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { runProgram } from '../program.ts';
import { compareCommand } from './compare.ts';

const directory = await mkdtemp(join(tmpdir(), 'kmend-cli-compare-'));
after(() => rm(directory, { recursive: true, force: true }));
const at = (name: string): string => join(directory, name);

const TEXT = 'int state = 1; int f(int a) { return a + 1; } int g(int a) { return state + f(a); }';

before(async () => {
  const texts = { same: TEXT, code: TEXT.replace('a + 1', 'a + 2'), data: TEXT.replace('state = 1', 'state = 2') };
  for (const [name, text] of Object.entries(texts)) {
    await writeFile(at(`${name}.c`), text);
    const flags = ['-O2', '-fno-inline', '-pg', '-mfentry', '-fno-pic', '-mcmodel=kernel', '-c'];
    await promisify(execFile)('gcc', [...flags, '-o', at(`${name}.o`), at(`${name}.c`)]);
  }
});

async function kmend(...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const write = (more: (text: string) => void) => ({
    write(text: string) {
      more(text);
    },
  });
  const streams = { out: write((text) => (out += text)), err: write((text) => (err += text)) };
  const { exitCode } = await runProgram(argv, [compareCommand], {
    streams,
    env: {},
    signal: new AbortController().signal,
  });
  return { exitCode, out, err };
}

const compare = (one: string, other: string, ...more: string[]) => kmend('compare', at(one), at(other), ...more);

test('exits with 0 for no change and patchable, with 3 for refused', async () => {
  const same = await compare('same.o', 'same.o');
  assert.deepEqual([same.exitCode, same.err], [0, '']);
  assert.match(same.out, /: no change\n {2}functions: 2 the same, 0 changed, 0 new, 0 removed\n/);
  const code = await compare('same.o', 'code.o');
  assert.equal(code.exitCode, 0);
  assert.match(code.out, /: patchable\n/);
  assert.match(code.out, /~ f \(.*\n.*first at \+0x\w+\n +- lea 0x1\(%rdi\),%eax\n +\+ lea 0x2\(%rdi\),%eax\n/);
  assert.match(code.out, /not checked: symbols: .*--symbols/);
  const data = await compare('same.o', 'data.o');
  assert.equal(data.exitCode, 3);
  assert.match(data.out, /at \+0x0: 01000000 -> 02000000\n.*refused \[data-changed\]/s);
});

test('prints the comparison as JSON', async () => {
  const { exitCode, out } = await compare('same.o', 'data.o', '--json');
  assert.equal(exitCode, 3);
  const { verdict, data } = JSON.parse(out);
  assert.deepEqual([verdict, data.changed[0].name], ['refused', 'state']);
});

const BAD: Readonly<Record<string, readonly [code: string, make: (path: string) => Promise<void>]>> = {
  'a text': ['elf-not-elf', (path) => writeFile(path, 'int f(void);\n')],
  'an empty file': ['elf-not-elf', (path) => writeFile(path, '')],
  'a truncated object': [
    'elf-truncated',
    async (path) => writeFile(path, (await readFile(at('same.o'))).subarray(0, 700)),
  ],
  'an object of another machine': [
    'elf-unsupported',
    async (path) => {
      const bytes = await readFile(at('same.o'));
      // e_machine: AArch64.
      bytes.writeUInt16LE(183, 18);
      await writeFile(path, bytes);
    },
  ],
  'a program': [
    'object-unsupported',
    async (path) => writeFile(path, await readFile(process.execPath).then(asProgram)),
  ],
  'a compressed module': ['object-unsupported', (path) => writeFile(path, Buffer.from('fd377a585a000000', 'hex'))],
  'a file that claims to be huge': [
    'object-unreadable',
    async (path) => {
      await writeFile(path, '');
      await truncate(path, 2 ** 40);
    },
  ],
  'a pipe': ['object-unreadable', async (path) => void (await promisify(execFile)('mkfifo', [path]))],
  'nothing at all': ['object-unreadable', async () => {}],
};

/** The headers of a linked program without its content: what is in them is enough to refuse it. */
function asProgram(bytes: Buffer): Buffer {
  const header = Buffer.from(bytes.subarray(0, 64));
  header.fill(0, 32, 48);
  header.fill(0, 56, 64);
  return header;
}

for (const [what, [code, make]] of Object.entries(BAD)) {
  test(`rejects ${what} with ${code} and its path`, async () => {
    const name = what.replaceAll(' ', '-');
    await make(at(name));
    for (const [one, other] of [[name, 'same.o'] as const, ['same.o', name] as const]) {
      const { exitCode, out } = await compare(one, other, '--json');
      const { error } = JSON.parse(out);
      assert.deepEqual([exitCode, error.code], [1, code]);
      assert.ok(error.message.includes(at(name)), error.message);
    }
  });
}

test('rejects a file that is no list of symbols', async () => {
  await writeFile(at('garbage'), 'ffffffff81000000 T _text\nnot a symbol\n');
  await writeFile(at('elf'), (await readFile(at('same.o'))).subarray(0, 100));
  for (const name of ['garbage', 'elf', 'missing', '.']) {
    const { exitCode, out } = await compare('same.o', 'code.o', '--symbols', at(name), '--json');
    assert.deepEqual([exitCode, JSON.parse(out).error.code], [1, 'symbols-unreadable'], name);
  }
});

test('requires two objects', async () => {
  assert.equal((await kmend('compare', at('same.o'))).exitCode, 2);
});

test('starts without loading the code of other commands', async () => {
  const hook = `import { registerHooks } from 'node:module'; registerHooks({ load(url, context, next) { process._rawDebug(url); return next(url, context); } });`;
  const main = join(import.meta.dirname, '../main.ts');
  const args = [
    '--import',
    `data:text/javascript,${encodeURIComponent(hook)}`,
    main,
    'compare',
    at('same.o'),
    at('code.o'),
  ];
  const { stderr } = await promisify(execFile)(process.execPath, args);
  const loaded = stderr.split('\n').filter((line) => line.startsWith('file:'));
  assert.ok(
    loaded.some((url) => url.endsWith('/compare-objects.ts')),
    stderr,
  );
  assert.deepEqual(
    loaded.filter((url) =>
      /\/zod\/|\/builder\/src\/(?:build|fix|tree|review)\/|\/packages\/(?:protocol|server|lab)\//.test(url),
    ),
    [],
  );
});
