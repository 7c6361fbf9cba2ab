import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { kernelRole } from '@kmend/protocol';
import { Metadata, MetadataKind } from '@tufjs/models';
import { anchorPath } from '../keys/anchor.ts';
import { generateKey, type SigningKey } from '../keys/key.ts';
import { loadRootKey } from '../keys/store.ts';
import { signedText } from '../metadata/signing.ts';
import { createRepository } from '../repository/create.ts';
import { metadataFile } from '../repository/layout.ts';
import { signPublication } from '../repository/sign.ts';
import { asModel, readSigned, type SignedJson } from '../testing/forge.ts';
import { startWeb } from '../testing/web.ts';
import { makeWorld, type World, writeArtifact } from '../testing/world.ts';
import { openOperator } from './operator.ts';
import { recordPath } from './record.ts';
import { prepareRotation } from './rotate.ts';

const { signal } = new AbortController();
const RENEWAL = { fresh: { online: {} } };

async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  await world.publish(1);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const open = () => openOperator({ directory: world.path('offline'), url: web.url, signal });
  return { world, web, open };
}

function withCode(code: string, said = /./): (error: Error) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    assert.match(error.message, said);
    return true;
  };
}

/** A repository of a thief, who has no key of the owner: his own, dressed as the owner's. */
async function thiefs(world: World) {
  const directory = world.path('thief');
  const path = (name: string): string => join(directory, name);
  const offlineKeys = path('offline');
  const created = await createRepository({
    offlineKeys,
    onlineKeys: path('online'),
    repository: path('repository'),
    clock: systemClock,
  });
  return { ...created, rootKey: await loadRootKey(offlineKeys) };
}

async function writeRoot(path: string, json: SignedJson, ...keys: SigningKey[]): Promise<void> {
  await writeFile(path, signedText(Metadata.fromJSON(MetadataKind.Root, asModel(json)), ...keys));
}

/** What the owner's root says, with the thief's key beside the owner's in every role. */
async function withKey(world: World, key: SigningKey): Promise<SignedJson> {
  const json = await readSigned(world.created.root);
  json.signed.keys[key.id] = key.public;
  for (const role of Object.values(json.signed.roles)) role.keyids.push(key.id);
  return json;
}

test('ignores a forged first root, and uses the pinned one', async (t) => {
  const { world, web, open } = await setUp(t);
  const thief = await thiefs(world);
  web.root = thief.repository;
  await assert.rejects(open(), withCode('key-wrong', /not the one these keys were made with: timestamp is not signed/));
  // Dressed better: the owner's roles and files, and the thief's key among the owner's.
  const dressed = world.path('dressed');
  await cp(world.created.repository, dressed, { recursive: true });
  await writeRoot(join(dressed, metadataFile('root', 1)), await withKey(world, thief.rootKey), thief.rootKey);
  web.root = dressed;
  const renewal = await prepareRotation(await open(), RENEWAL);
  const { root } = (await renewal.sign()).metadata;
  assert.ok(root !== undefined && !root.includes(thief.rootKey.id), 'what is signed has none of his keys');
});

test('refuses a next root with a foreign key unless the owner’s root key signed it', async (t) => {
  const { world, web, open } = await setUp(t);
  const foreign = generateKey('root').key;
  const next = await withKey(world, foreign);
  next.signed.version = 2;
  const forged = world.path('forged');
  await cp(world.created.repository, forged, { recursive: true });
  web.root = forged;
  await writeRoot(join(forged, metadataFile('root', 2)), next, foreign);
  await assert.rejects(open(), withCode('repository-unsigned', /root 2 is not signed as root 1 demands/));
});

test('refuses to build on targets and kernels that another key signed', async (t) => {
  const { world, open } = await setUp(t);
  const livepatch = await writeArtifact(world.path('artifact-2'), 2);
  const operator = await open();
  const { state } = operator;
  const role = await state.role(kernelRole('ab'.repeat(20)));
  assert.ok(role);
  const sign = (of: typeof state) =>
    signPublication({ state: of, releaseKey: world.releaseKey, livepatch, channel: 'stable', clock: systemClock });
  await sign(state);
  const stripped = new Metadata(role.signed);
  generateKey('release').key.sign(stripped);
  await assert.rejects(
    sign({ ...state, role: async () => stripped }),
    withCode('key-wrong', /not signed with the key/),
  );
  const targets = new Metadata(state.targets.signed);
  await assert.rejects(sign({ ...state, targets }), withCode('key-wrong'));
});

test('bounds what a hostile server sends: roots in number, size and time', async (t) => {
  const { world, web, open } = await setUp(t);
  const rootKey = await loadRootKey(world.path('offline'));
  const json = await readSigned(world.created.root);
  web.tamper = async (request, response) => {
    const version = /(\d+)\.root\.json$/.exec(request.url ?? '')?.[1];
    if (version === undefined) return false;
    json.signed.version = Number(version);
    response.end(signedText(Metadata.fromJSON(MetadataKind.Root, asModel(json)), rootKey));
    return true;
  };
  await assert.rejects(open(), withCode('repository-garbage', /more than 256 roots/));
  const asked = web.log.filter((line) => line.includes('root.json')).length;
  assert.ok(asked <= 257, `${asked} roots`);
  web.tamper = (request, response) => {
    if (!request.url?.endsWith('2.root.json')) return false;
    response.end(Buffer.alloc(600_000, ' '));
    return true;
  };
  await assert.rejects(open(), withCode('repository-too-large'));
  // Each root takes its time: together they have 15 seconds, by a clock that runs a thousand times as fast.
  const clock = {
    ...systemClock,
    monotonic: () => systemClock.monotonic() * 1000,
    sleep: (ms: number, stop?: AbortSignal) => systemClock.sleep(ms / 1000, stop),
  };
  web.tamper = async (request, response) => {
    if (!request.url?.endsWith('2.root.json')) return false;
    await new Promise((resolve) => setTimeout(resolve, 200));
    response.end('late');
    return true;
  };
  const slow = openOperator({ directory: world.path('offline'), url: web.url, signal, clock });
  await assert.rejects(slow, withCode('repository-slow'));
});

test('refuses a server state that is older than this machine signed', async (t) => {
  const { world, web, open } = await setUp(t);
  const old = world.path('old');
  await cp(world.created.repository, old, { recursive: true });
  await world.publish(2);
  await (await open()).state.role(kernelRole('ab'.repeat(20)));
  const operator = await open();
  await operator.state.role(kernelRole('ab'.repeat(20)));
  await operator.save();
  web.root = old;
  const stale = await open();
  await assert.rejects(
    stale.state.role(kernelRole('ab'.repeat(20))),
    withCode('repository-rollback', /an older kernel-.*, version 1; this machine has seen 2/),
  );
  await writeFile(recordPath(world.path('offline')), '{');
  await assert.rejects(open(), withCode('record-damaged'));
  await rm(recordPath(world.path('offline')));
  await (await open()).state.role(kernelRole('ab'.repeat(20)));
});

test('refuses to sign without the pinned root', async (t) => {
  const { world, open } = await setUp(t);
  const path = anchorPath(world.path('offline'));
  const root = await readFile(path);
  assert.deepEqual(root, await readFile(world.created.root));
  await rm(path);
  await assert.rejects(open(), (error: Error & { hint?: string }) => {
    assert.match(error.hint ?? '', /1\.root\.json.*not from the server/);
    return withCode('anchor-missing')(error);
  });
  await writeFile(path, 'nonsense');
  await assert.rejects(open(), withCode('root-unusable'));
});
