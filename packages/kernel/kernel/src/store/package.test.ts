import assert from 'node:assert/strict';
import { lstat, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { hasCode } from '../testing/errors.ts';
import { folder } from '../testing/folder.ts';
import { unpackPackage } from './package.ts';

const edges = { run, signal: new AbortController().signal };

/** A `.deb` of a tar file, which `dpkg-deb --build` would not make. */
async function debOf(directory: string, tar: Uint8Array): Promise<string> {
  const parts = join(directory, 'parts');
  await mkdir(parts, { recursive: true });
  await writeFile(join(parts, 'debian-binary'), '2.0\n');
  await writeFile(join(parts, 'control'), 'Package: made-up\nVersion: 1\nArchitecture: all\n');
  await runOk(run, 'tar', ['-cf', join(parts, 'control.tar'), '-C', parts, './control']);
  await writeFile(join(parts, 'data.tar'), tar);
  const deb = join(directory, 'made-up.deb');
  await runOk(run, 'rm', ['-f', deb]);
  const members = ['debian-binary', 'control.tar', 'data.tar'].map((name) => join(parts, name));
  await runOk(run, 'ar', ['qc', deb, ...members]);
  return deb;
}

/** Headers of a ustar archive: one member, as POSIX pax(1) describes them. */
function member(name: string, type: string, options: { link?: string; content?: string; mode?: number } = {}): Buffer {
  const { link = '', content = '', mode = 0o644 } = options;
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  header.write('0001750\0'.repeat(2), 108);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\x0000', 257);
  header.write('0000001\0'.repeat(2), 329);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

const FILE = '0';
const HARD_LINK = '1';
const LINK = '2';
const DEVICE = '3';
const FOLDER = '5';
const PIPE = '6';

interface World {
  readonly into: string;
  readonly outside: string;
  unpack(...members: readonly Buffer[]): Promise<void>;
  /** What lies beside the folder that is unpacked to. */
  secretsTouched(): Promise<boolean>;
}

async function world(t: TestContext): Promise<World> {
  const directory = await folder(t);
  const into = join(directory, 'store', 'into');
  const outside = join(directory, 'outside');
  await mkdir(outside);
  await writeFile(join(outside, 'secret'), 'untouched');
  return {
    into,
    outside,
    async unpack(...members) {
      await unpackPackage(edges, await debOf(directory, Buffer.concat([...members, Buffer.alloc(1024)])), into);
    },
    async secretsTouched() {
      const names = [...(await readdir(outside)), ...(await readdir(dirname(into)))];
      return names.join() !== 'secret,into' || (await readFile(join(outside, 'secret'), 'utf8')) !== 'untouched';
    },
  };
}

test('unpacks files, folders and inner links unchanged, without owners and set-user-id bits', async (t) => {
  const { into, unpack } = await world(t);
  await unpack(
    member('./usr/', FOLDER, { mode: 0o755 }),
    member('./usr/tool', FILE, { content: 'run', mode: 0o4755 }),
    member('./usr/beside', LINK, { link: 'tool' }),
    member('./usr/up', LINK, { link: '../usr/tool' }),
    member('./usr/hard', HARD_LINK, { link: './usr/tool' }),
  );
  assert.equal(await readFile(join(into, 'usr', 'up'), 'utf8'), 'run');
  assert.equal(await readlink(join(into, 'usr', 'beside')), 'tool');
  const { mode, uid } = await stat(join(into, 'usr', 'tool'));
  assert.deepEqual([mode & 0o7777, uid], [0o755, process.getuid?.()]);
});

test('drops links that lead out in any way', async (t) => {
  const { into, outside, unpack } = await world(t);
  const links = {
    absolute: outside,
    'a/up': '../../../outside',
    root: '..',
    // d leads to a folder two below: going up from there is not going up from here.
    'x/y/d': '../../z/deep',
    around: 'x/y/d/../../..',
  };
  await unpack(
    member('./z/deep/', FOLDER, { mode: 0o755 }),
    ...Object.entries(links).map(([name, link]) => member(`./${name}`, LINK, { link })),
    member('./a/dangling', LINK, { link: '../later' }),
  );
  // Without following any that may be left.
  const kept = (await runOk(run, 'find', ['.', '-mindepth', '1'], { cwd: into })).toString().trim().split('\n');
  assert.deepEqual(kept.sort(), ['./a', './a/dangling', './x', './x/y', './x/y/d', './z', './z/deep']);
});

test('writes nothing outside for names that go up, absolute ones, or through a link of this package or an earlier one', async (t) => {
  const { outside, unpack, secretsTouched } = await world(t);
  const evil = { content: 'overwritten' };
  for (const members of [
    [member('../escaped', FILE, evil)],
    [member('./a/../../escaped', FILE, evil)],
    [member(`${outside}/escaped`, FILE, evil)],
    [member('./link', LINK, { link: outside }), member('./link/secret', FILE, evil)],
    [member('./link', LINK, { link: '../../outside' }), member('./link/secret', FILE, evil)],
    [member('./hard', HARD_LINK, { link: `${outside}/secret` }), member('./hard', FILE, evil)],
  ]) {
    await unpack(...members).catch(hasCode('package-damaged'));
    assert.equal(await secretsTouched(), false);
  }
  await unpack(member('./later', LINK, { link: outside }));
  await unpack(member('./later/secret', FILE, evil));
  assert.equal(await secretsTouched(), false);
});

test('refuses pipes and devices, which would block or feed a reader', async (t) => {
  const { into, unpack } = await world(t);
  await assert.rejects(unpack(member('./boot/vmlinuz', PIPE)), hasCode('package-damaged'));
  assert.ok((await lstat(join(into, 'boot', 'vmlinuz'))).isFIFO(), 'tar makes them: it is the check that refuses');
  await assert.rejects(unpack(member('./zero', DEVICE)), hasCode('package-damaged'));
});

test('refuses a truncated, a damaged and a false package', async (t) => {
  const directory = await folder(t);
  const sound = await debOf(
    directory,
    Buffer.concat([member('./f', FILE, { content: 'x'.repeat(5000) }), Buffer.alloc(1024)]),
  );
  const bytes = await readFile(sound);
  const path = join(directory, 'broken.deb');
  for (const broken of [
    bytes.subarray(0, bytes.length - 4000),
    bytes.subarray(0, 100),
    Buffer.alloc(500),
    Buffer.alloc(0),
  ]) {
    await writeFile(path, broken);
    await assert.rejects(unpackPackage(edges, path, join(directory, 'into')), hasCode('package-damaged'));
  }
});

test('does not follow a link in place of a part of the kernel out of the folder', async (t) => {
  const directory = await folder(t);
  await symlink('/etc/passwd', join(directory, 'link'));
  const into = join(directory, 'into');
  await mkdir(into);
  await symlink('/etc/passwd', join(into, '.config'));
  const empty = await debOf(directory, Buffer.alloc(1024));
  await unpackPackage(edges, empty, into);
  assert.deepEqual(await readdir(into), []);
});
