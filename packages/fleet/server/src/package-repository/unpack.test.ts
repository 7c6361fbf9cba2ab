import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { withCode } from '../testing/ask.ts';
import { type TarEntry, tarOf } from '../testing/tar.ts';
import { unpack } from './unpack.ts';

const limits = { archive: 1_000_000, file: 5000, files: 20 };
const at = new Date('2026-11-02T00:00:00Z');

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kmend-unpack-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function unpacked(t: TestContext, archive: Buffer, previous?: string) {
  const path = await folder(t);
  // In pieces that are no blocks.
  const pieces = Array.from({ length: Math.ceil(archive.length / 700) }, (_, n) =>
    archive.subarray(n * 700, n * 700 + 700),
  );
  return { path, ...(await unpack(Readable.from(pieces), path, { limits, at, previous })) };
}

test('writes files whole, with one time, and makes folders as needed', async (t) => {
  const long = `dists/updates/main/binary-amd64/by-hash/SHA512/${'ab'.repeat(64)}`;
  const big = Buffer.alloc(4999, 'x');
  const archive = await tarOf([
    { name: './', type: 'directory' },
    { name: './pool/', type: 'directory' },
    { name: './pool/a_1:2~3+b%3a.deb', data: big },
    { name: long, data: 'hashed' },
    { name: 'empty', data: '' },
  ]);
  const { path, ...said } = await unpacked(t, archive);
  assert.deepEqual(said, { files: 3, bytes: 5005, unchanged: 0 });
  assert.deepEqual(await readFile(join(path, 'pool/a_1:2~3+b%3a.deb')), big);
  assert.equal(await readFile(join(path, long), 'utf8'), 'hashed');
  assert.equal((await stat(join(path, 'empty'))).mtimeMs, at.getTime());
});

test('accepts what tar writes in its plain formats', async (t) => {
  const source = await folder(t);
  await runOk(run, 'sh', ['-c', `mkdir -p ${source}/pool && echo deb > ${source}/pool/a.deb`]);
  for (const format of ['gnu', 'ustar']) {
    const archive = await runOk(run, 'tar', ['-C', source, `--format=${format}`, '-cf', '-', '.']);
    assert.equal((await unpacked(t, archive)).files, 1, format);
  }
  await runOk(run, 'ln', ['-s', 'a.deb', join(source, 'pool/b.deb')]);
  const linked = await runOk(run, 'tar', ['-C', source, '-cf', '-', '.']);
  await assert.rejects(unpacked(t, linked), withCode('tar-link'));
});

test('links an unchanged file to the previous repository, and copies a changed one', async (t) => {
  const before = await unpacked(
    t,
    await tarOf([
      { name: 'same', data: 'a' },
      { name: 'changed', data: 'a' },
    ]),
  );
  const later = new Date('2026-11-03T00:00:00Z');
  const path = await folder(t);
  const archive = await tarOf([
    { name: 'same', data: 'a' },
    { name: 'changed', data: 'b' },
  ]);
  const options = { limits, at: later, previous: before.path };
  assert.equal((await unpack(Readable.from([archive]), path, options)).unchanged, 1);
  const about = async (name: string) => stat(join(path, name));
  assert.deepEqual([(await about('same')).nlink, (await about('same')).mtimeMs], [2, at.getTime()]);
  assert.deepEqual([(await about('changed')).nlink, (await about('changed')).mtimeMs], [1, later.getTime()]);
  assert.equal(await readFile(join(before.path, 'changed'), 'utf8'), 'a');
});

const refused: readonly [code: string, what: string, entries: readonly TarEntry[]][] = [
  ['tar-path-absolute', 'an absolute path', [{ name: '/etc/passwd', data: 'x' }]],
  ['tar-path-escapes', 'a way up', [{ name: '../x', data: 'x' }]],
  ['tar-path-escapes', 'a way up from further down', [{ name: 'pool/../../x', data: 'x' }]],
  ['tar-path-escapes', 'a folder further up', [{ name: '../', type: 'directory' }]],
  ['tar-path-too-long', 'a long path', [{ name: `pool/${'a/'.repeat(7)}${'x'.repeat(230)}`, data: 'x' }]],
  ['tar-path-too-long', 'a deep path', [{ name: `${'a/'.repeat(16)}x`, data: 'x' }]],
  ['tar-path-unusable', 'a hidden file', [{ name: 'pool/.htaccess', data: 'x' }]],
  ['tar-path-unusable', 'an empty folder name', [{ name: 'pool//x', data: 'x' }]],
  ['tar-path-unusable', 'a line break', [{ name: 'pool/a\nb', data: 'x' }]],
  ['tar-path-unusable', 'a backslash', [{ name: 'pool\\x', data: 'x' }]],
  ['tar-path-unusable', 'a dot', [{ name: 'pool/./x', data: 'x' }]],
  ['tar-link', 'a symbolic link', [{ name: 'x', type: 'symlink', linkname: '/etc/passwd' }]],
  ['tar-link', 'a hard link', [{ name: 'x', type: 'link', linkname: 'y' }]],
  ['tar-special', 'a character device', [{ name: 'x', type: 'character-device' }]],
  ['tar-special', 'a block device', [{ name: 'x', type: 'block-device' }]],
  ['tar-special', 'a pipe', [{ name: 'x', type: 'fifo' }]],
  [
    'tar-duplicate',
    'a name twice',
    [
      { name: 'pool/x', data: 'x' },
      { name: './pool/x', data: 'y' },
    ],
  ],
  [
    'tar-duplicate',
    'a file where a folder is',
    [
      { name: 'pool/x', data: 'x' },
      { name: 'pool', data: 'y' },
    ],
  ],
  [
    'tar-duplicate',
    'a folder where a file is',
    [
      { name: 'pool', data: 'x' },
      { name: 'pool/a/x', data: 'y' },
    ],
  ],
  ['tar-extended', 'a header that says more', [{ name: 'x', data: 'x', pax: { mtime: '1' } }]],
  ['tar-file-too-large', 'a large file', [{ name: 'x', data: Buffer.alloc(5001) }]],
  ['tar-too-many-files', 'many files', Array.from({ length: 21 }, (_, n) => ({ name: `x${n}` }))],
  [
    'tar-too-many-files',
    'many folders',
    Array.from({ length: 21 }, (_, n) => ({ name: `x${n}`, type: 'directory' as const })),
  ],
];

for (const [code, what, entries] of refused) {
  test(`refuses ${what} (${code})`, async (t) => {
    const archive = await tarOf(entries);
    await assert.rejects(unpacked(t, archive), withCode(code));
  });
}

test('refuses truncated archives, garbage, empty input and archives above the limits', async (t) => {
  const archive = await tarOf([
    { name: 'pool/x', data: Buffer.alloc(3000, 'x') },
    { name: 'pool/y', data: 'y' },
  ]);
  for (const length of [
    0,
    100,
    512,
    600,
    3584,
    4000,
    archive.length - 1024,
    archive.length - 512,
    archive.length - 1,
  ]) {
    await assert.rejects(unpacked(t, archive.subarray(0, length)), withCode('tar-damaged'), `${length} bytes`);
  }
  const flipped = Buffer.from(archive);
  flipped[3584 + 3] = 0x21;
  await assert.rejects(unpacked(t, flipped), withCode('tar-damaged'));
  await assert.rejects(unpacked(t, Buffer.alloc(10_000, 'garbage')), withCode('tar-damaged'));
  await assert.rejects(unpacked(t, Buffer.concat([archive, Buffer.alloc(limits.archive)])), withCode('tar-too-large'));
});

test('reads a refused stream to its end, and extracts nothing more', async (t) => {
  const path = await folder(t);
  const archive = await tarOf([
    { name: 'good', data: 'x' },
    { name: '/bad', data: 'x' },
    ...Array.from({ length: 10 }, (_, n) => ({ name: `after${n}`, data: Buffer.alloc(5000) })),
  ]);
  let read = 0;
  const body = Readable.from(
    (function* () {
      for (; read < archive.length; read += 1000) yield archive.subarray(read, read + 1000);
    })(),
  );
  await assert.rejects(unpack(body, path, { limits, at, previous: undefined }), withCode('tar-path-absolute'));
  assert.ok(read >= archive.length);
  assert.deepEqual(await readdir(path), ['good']);
});
