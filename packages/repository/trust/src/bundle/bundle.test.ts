import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { Metadata, MetadataKind } from '@tufjs/models';
import { extract, type Header, pack } from 'tar-stream';
import { openRepositoryClient } from '../client/client.ts';
import { loadRootKey } from '../keys/store.ts';
import { signedText } from '../metadata/signing.ts';
import { metadataFile } from '../repository/layout.ts';
import { exampleModule } from '../testing/module.ts';
import { startWeb } from '../testing/web.ts';
import { BUILD_ID, exampleManifest, makeWorld, OTHER_BUILD_ID, type World } from '../testing/world.ts';
import { bundleFetch } from './bundle-fetch.ts';
import { type BundleOptions, createBundle } from './create.ts';

const { signal } = new AbortController();

interface Entry {
  readonly header: Partial<Header> & Pick<Header, 'name'>;
  readonly bytes?: Buffer;
}

/** A repository of two kernels, and a host that sees nothing of it but bundles. */
async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  await world.publish(1);
  await world.publish(2, { kernel: { ...exampleManifest(2).kernel, buildId: OTHER_BUILD_ID } });
  const out = world.path('bundle.tar');
  const make = (more: Partial<BundleOptions> = {}) =>
    createBundle({
      repository: world.created.repository,
      root: world.created.root,
      kernels: [BUILD_ID],
      out,
      signal,
      ...more,
    });
  const openHost = (path = out) =>
    openRepositoryClient({
      directory: world.path('host'),
      root: world.created.root,
      url: 'bundle:///',
      fetch: bundleFetch(path),
    });
  return { world, out, make, openHost };
}

function withCode(code: string, text = ''): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    assert.ok(String(error).includes(text), String(error));
    return true;
  };
}

async function entriesOf(path: string): Promise<Entry[]> {
  const archive = extract();
  const found: Entry[] = [];
  archive.on('entry', (header, body, next) => {
    const chunks: Uint8Array[] = [];
    body.on('data', (chunk) => chunks.push(Buffer.from(chunk as Uint8Array)));
    body.on('end', () => {
      const bytes = Buffer.concat(chunks);
      found.push({ header: { name: header.name, size: bytes.length }, bytes });
      next();
    });
  });
  await pipeline(createReadStream(path), archive);
  return found;
}

async function rotateRoot(world: World): Promise<void> {
  const json = JSON.parse(await readFile(world.created.root, 'utf8'));
  json.signed.version = 2;
  const text = signedText(Metadata.fromJSON(MetadataKind.Root, json), await loadRootKey(world.path('offline')));
  await writeFile(`${world.created.repository}/${metadataFile('root', 2)}`, text);
}

test('lets a host without a network use a bundle, and verifies all of it', async (t) => {
  const { world, make, openHost } = await setUp(t);
  await rotateRoot(world);
  const bundle = await make();
  assert.deepEqual(bundle.kernels, [{ buildId: BUILD_ID, serials: [1] }]);
  assert.equal(
    bundle.validUntil.toISOString(),
    new Date(world.repository.state.timestamp.signed.expires).toISOString(),
  );
  const host = await openHost();
  assert.equal((await host.check(signal)).changed, true);
  assert.equal((await host.check(signal)).changed, false);
  assert.equal((await host.fleetPolicy(signal))?.halted, false);
  assert.equal((await host.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 1);
  const { modulePath } = await host.fetchLivepatch(BUILD_ID, 1, signal);
  assert.deepEqual(await readFile(modulePath), exampleModule('livepatch 1').module);
  assert.equal((await (await openHost()).verifyCached(BUILD_ID, 1)).target.serial, 1);
  await assert.rejects(host.kernelPolicy(OTHER_BUILD_ID, signal), withCode('not-found'), 'not in this bundle');
});

test('holds exactly what is needed, with the same bytes from a server as from the directory', async (t) => {
  const { world, out, make } = await setUp(t);
  await world.publish(3);
  await rotateRoot(world);
  const first = await make();
  const names = (await entriesOf(out)).map(({ header }) => header.name.replace(/[0-9a-f]{64}/, 'HASH'));
  assert.deepEqual(names.sort(), [
    'metadata/1.root.json',
    `metadata/2.kernel-${BUILD_ID}.json`,
    'metadata/2.root.json',
    'metadata/3.targets.json',
    'metadata/4.policy.json',
    'metadata/4.snapshot.json',
    'metadata/timestamp.json',
    `targets/kernels/${BUILD_ID}/2/HASH.livepatch.json`,
    `targets/kernels/${BUILD_ID}/2/HASH.livepatch.ko`,
    `targets/policy/HASH.${BUILD_ID}.json`,
    'targets/policy/HASH.fleet.json',
  ]);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const again = await make({ repository: `${web.url}/`, out: world.path('again.tar') });
  assert.equal(again.sha256, first.sha256);
  assert.equal(
    createHash('sha256')
      .update(await readFile(out))
      .digest('hex'),
    first.sha256,
  );
  assert.equal((await readFile(out)).length, first.size);
  const both = await make({ kernels: [BUILD_ID, OTHER_BUILD_ID, BUILD_ID] });
  assert.deepEqual(
    both.kernels.map(({ buildId }) => buildId),
    [BUILD_ID, OTHER_BUILD_ID],
  );
});

test('bundles what any channel chooses, and nothing withdrawn', async (t) => {
  const { world, out, make, openHost } = await setUp(t);
  for (const n of [3, 4, 5]) await world.publish(n, {}, n === 5 ? 'canary' : 'stable');
  await world.repository.setKernelPolicy(BUILD_ID, (before) => ({
    ...before,
    channels: {
      stable: { settled: 2, rollout: { id: 'r', serial: 3, permyriad: 100 } },
      early: { settled: 1, rollout: null },
      canary: { settled: 4, rollout: null },
    },
    withdrawn: [{ serial: 1, reason: 'bad' }],
  }));
  assert.deepEqual((await make()).kernels[0]?.serials, [2, 3, 4]);
  const host = await openHost(out);
  await host.check(signal);
  for (const serial of [2, 3, 4]) await host.fetchLivepatch(BUILD_ID, serial, signal);
  await world.repository.setKernelPolicy(BUILD_ID, (before) => ({ ...before, channels: {} }));
  assert.deepEqual((await make()).kernels[0]?.serials, [], 'a kernel for which nothing is chosen now');
  await host.check(signal);
  assert.deepEqual((await host.kernelPolicy(BUILD_ID, signal))?.channels, {});
});

test('notices a newer bundle in the same place, and reports an older one as a rollback', async (t) => {
  const { world, out, make, openHost } = await setUp(t);
  await make();
  const host = await openHost();
  await host.check(signal);
  await rename(out, world.path('old.tar'));
  await world.publish(3);
  await make();
  assert.equal((await host.check(signal)).changed, true);
  assert.equal((await host.fetchLivepatch(BUILD_ID, 2, signal)).target.serial, 2);
  await rename(world.path('old.tar'), out);
  await assert.rejects(host.check(signal), withCode('repository-rollback'));
  await rm(out);
  await assert.rejects(host.check(signal), withCode('repository-unreachable'));
});

test('makes no bundle of what fails verification, or for a kernel that is not covered', async (t) => {
  const { world, out, make } = await setUp(t);
  await make();
  const before = await readFile(out);
  await assert.rejects(make({ kernels: ['ef'.repeat(20)] }), withCode('not-found', 'does not cover'));
  await assert.rejects(make({ repository: world.path('nowhere') }), withCode('repository-missing'));
  await assert.rejects(make({ root: Buffer.from('{}') }), withCode('root-unusable'));
  const snapshot = `${world.created.repository}/${metadataFile('snapshot', 3)}`;
  await writeFile(snapshot, (await readFile(snapshot, 'utf8')).replace('"version":3', '"version":4'));
  await assert.rejects(make(), withCode('repository-mismatch'));
  assert.deepEqual(await readFile(out), before, 'and leaves the one before alone');
});

/** Packs entries as they are, sound or not. */
async function packed(path: string, entries: readonly Entry[]): Promise<void> {
  const archive = pack();
  const written = pipeline(archive, createWriteStream(path));
  for (const { header, bytes } of entries) archive.entry(header, bytes ?? Buffer.alloc(0));
  archive.finalize();
  await written;
}

test('refuses a hostile or damaged bundle as a whole', async (t) => {
  const { world, out, make, openHost } = await setUp(t);
  await make();
  const plain = await entriesOf(out);
  const bytes = Buffer.from('x');
  const extra: Readonly<Record<string, Entry>> = {
    'no file of a repository': { header: { name: 'targets/../../etc/passwd', size: 1 }, bytes },
    'no file of a repository (absolute)': { header: { name: '/etc/passwd', size: 1 }, bytes },
    'no file of a repository (elsewhere)': { header: { name: 'keys/policy.key', size: 1 }, bytes },
    'a symlink': { header: { name: 'targets/link', type: 'symlink', linkname: '/etc/passwd' } },
    'a link': { header: { name: 'targets/link', type: 'link', linkname: 'metadata/timestamp.json' } },
    'a fifo': { header: { name: 'targets/pipe', type: 'fifo' } },
    'a directory': { header: { name: 'targets/folder', type: 'directory' } },
    'a character-device': { header: { name: 'targets/null', type: 'character-device', devmajor: 1, devminor: 3 } },
    'twice in it': { header: { name: 'metadata/timestamp.json', size: 1 }, bytes },
    'described by an extended header': { header: { name: 'targets/x', size: 1, pax: { comment: 'x' } }, bytes },
  };
  for (const [text, entry] of Object.entries(extra)) {
    for (const entries of [
      [entry, ...plain],
      [...plain, entry],
    ]) {
      // A name that comes twice is one only with the other.
      await packed(world.path('bad.tar'), entries);
      const host = await openHost(world.path('bad.tar'));
      await assert.rejects(host.check(signal), withCode('repository-garbage', text.replace(/ \(.*/, '')), text);
    }
  }
  await packed(world.path('good.tar'), plain);
  await (await openHost(world.path('good.tar'))).check(signal);
});

/** A tar header of one file with any size in it. */
function headerOf(name: string, size: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(size, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

test('refuses wrong sizes, truncated archives and files that are no archives', async (t) => {
  const { world, out, make, openHost } = await setUp(t);
  const path = world.path('bad.tar');
  const refused = async (content: Buffer, text: string) => {
    await writeFile(path, content);
    await assert.rejects((await openHost(path)).check(signal), withCode('repository-garbage', text), text);
  };
  const end = Buffer.alloc(1024);
  const ten = (10 * 2 ** 30).toString(8).padStart(11, '0');
  await refused(Buffer.concat([headerOf('targets/a', `${ten}\0`), Buffer.alloc(512, 65), end]), 'bytes long');
  await refused(
    Buffer.concat([headerOf('targets/a', '00000100000\0'), Buffer.alloc(512), end]),
    'longer than the archive',
  );
  const negative = Buffer.concat([headerOf('targets/a', '\0'.repeat(12)), end]);
  negative.fill(0xff, 124, 136);
  negative[135] = 0xfe;
  negative.write('        ', 148);
  const sum = negative.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  negative.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  await refused(negative, 'not a tar archive');
  await refused(Buffer.from('<html>'), 'cut off, or not a tar archive');
  await refused(Buffer.concat([Buffer.alloc(4096, 65), end]), 'not a tar archive');
  await make();
  const whole = await readFile(out);
  for (const length of [whole.length - 1024, whole.length - 1025, 3000, 1024, 512, 0]) {
    await refused(whole.subarray(0, length), 'cut off');
  }
  const torn = Buffer.from(whole);
  torn[5] = 65;
  await refused(torn, 'not a tar archive');
  await truncate(path, 9 * 2 ** 30);
  await assert.rejects((await openHost(path)).check(signal), withCode('repository-garbage', 'larger than'));
  await rm(path);
  await symlink('/dev/zero', path);
  await assert.rejects((await openHost(path)).check(signal), withCode('repository-garbage', 'not a regular file'));
});

test('refuses too many entries', async (t) => {
  const { world, openHost } = await setUp(t);
  const path = world.path('many.tar');
  const blocks: Buffer[] = [];
  for (let n = 0; n <= 16_384; n++) blocks.push(headerOf(`targets/${n}`, '00000000000\0'));
  await writeFile(path, Buffer.concat([...blocks, Buffer.alloc(1024)]));
  await assert.rejects((await openHost(path)).check(signal), withCode('repository-garbage', 'more than'));
});
