import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import {
  chosenSerial,
  type KernelPolicy,
  kernelPolicyPath,
  kernelRole,
  manifestPath,
  modulePath,
} from '@kmend/protocol';
import { generateKey } from '../keys/key.ts';
import { loadOnlineKeys, loadRootKey } from '../keys/store.ts';
import { openOperator } from '../operator/operator.ts';
import { prepareFloor } from '../operator/rotate.ts';
import { metadataFile, TIMESTAMP_FILE, targetFile } from '../repository/layout.ts';
import {
  type Forge,
  newOnlineKeys,
  openForge,
  putTarget,
  readSigned,
  type SignedJson,
  signOnline,
  signRole,
  signRoot,
} from '../testing/forge.ts';
import { startWeb } from '../testing/web.ts';
import { BUILD_ID, exampleManifest, makeWorld, OTHER_BUILD_ID, type World } from '../testing/world.ts';
import { openRepositoryClient, type RepositoryClientOptions } from './client.ts';

// One test, or more, for each threat that the specification names (1.0.34, section 1.5.2, "Goals"), met with a real web
// server. What an attacker may hold is said in each name.

const { signal } = new AbortController();
/** Milliseconds that a timestamp signed by `expireSoon` holds: long enough for a busy machine. */
const SOON = 4000;

async function setUp(t: TestContext) {
  const world = await makeWorld(t);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const open = (more: Partial<RepositoryClientOptions> = {}) =>
    openRepositoryClient({ directory: world.path('cache'), root: world.created.root, url: web.url, ...more });
  return { world, web, open, file: (name: string) => join(world.created.repository, name) };
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };
}

/** Copies the repository's files as they are now. */
async function keepState(world: World, name: string): Promise<string> {
  const copy = world.path(name);
  await cp(world.created.repository, copy, { recursive: true });
  return copy;
}

/** Signs a timestamp that expires while the test looks on. */
async function expireSoon(world: World): Promise<void> {
  const expires = new Date(Date.now() + SOON).toISOString();
  await signOnline(forgeOf(world), await loadOnlineKeys(world.path('online')), { expires });
}

/** Where the tests forge: the repository's own files. */
function forgeOf({ repository, created }: World): Forge {
  return { state: repository.state, directory: created.repository };
}

test('arbitrary installation: refuses a module that a mirror swaps', async (t) => {
  const { world, open, file } = await setUp(t);
  await world.publish(1);
  const client = await open();
  await client.check(signal);
  const module = (await world.repository.state.role(kernelRole(BUILD_ID)))?.signed.targets[modulePath(BUILD_ID, 1)];
  assert.ok(module?.hashes['sha256']);
  await writeFile(file(targetFile(module.path, module.hashes['sha256'])), Buffer.alloc(2001, 66));
  await assert.rejects(client.fetchLivepatch(BUILD_ID, 1, signal), withCode('repository-mismatch'));
  await assert.rejects(client.verifyCached(BUILD_ID, 1), withCode('not-cached'));
});

test('arbitrary installation: refuses metadata of each role without a valid signature', async (t) => {
  const { world, open, web } = await setUp(t);
  await world.publish(1);
  const roles = ['timestamp', 'snapshot', 'targets'];
  for (const role of roles) {
    for (const tamper of ['none', 'changed'] as const) {
      web.tamper = async (request, response) => {
        if (!request.url?.endsWith(`${role}.json`)) return false;
        const json = await readSigned(join(world.created.repository, request.url));
        if (tamper === 'none') json.signatures.splice(0);
        else json.signed.expires = '2099-01-01T00:00:00Z';
        response.end(JSON.stringify(json));
        return true;
      };
      const client = await open({ directory: world.path(`cache-${role}-${tamper}`) });
      // Snapshot and targets are pinned by hash besides, which is met first.
      const code = role === 'timestamp' ? 'repository-unsigned' : 'repository-mismatch';
      await assert.rejects(client.check(signal), withCode(code), `${role} ${tamper}`);
    }
  }
});

test('rollback: refuses an older state of a mirror', async (t) => {
  const { world, open, web } = await setUp(t);
  await world.publish(1);
  const old = await keepState(world, 'old');
  await world.publish(2);
  const client = await open();
  await client.check(signal);
  await client.kernelPolicy(BUILD_ID, signal);
  web.root = old;
  await assert.rejects(client.check(signal), withCode('repository-rollback'));
  await assert.rejects((await open()).check(signal), withCode('repository-rollback'), 'also after a restart');
  assert.equal((await client.kernelPolicy(BUILD_ID, signal))?.channels.stable?.settled, 2);
});

test('rollback: refuses an older timestamp for the same snapshot', async (t) => {
  const { world, open, file } = await setUp(t);
  const old = await readFile(file(TIMESTAMP_FILE));
  await signOnline(forgeOf(world), await loadOnlineKeys(world.path('online')), { snapshotVersion: 1 });
  const client = await open();
  assert.equal((await client.check(signal)).version, 2);
  await writeFile(file(TIMESTAMP_FILE), old);
  await assert.rejects(client.check(signal), withCode('repository-rollback'));
});

test('rollback: refuses an older kernel role that the online keys sign', async (t) => {
  const { world, open } = await setUp(t);
  await world.publish(1);
  const role = `${kernelRole(BUILD_ID)}.json`;
  // The models type their JSON as values of any kind; the test looks at what it has just published.
  const older = world.repository.state.snapshot.signed.meta[role]?.toJSON() as unknown as { version: number };
  await world.publish(2);
  const client = await open();
  await client.check(signal);
  await signOnline(forgeOf(world), await loadOnlineKeys(world.path('online')), { meta: { [role]: older } });
  await assert.rejects(client.check(signal), withCode('repository-rollback'));
});

test('fast-forward: recovers by a new root after stolen online keys jumped ahead', async (t) => {
  const { world, open, file } = await setUp(t);
  await world.publish(1);
  const client = await open();
  await client.check(signal);
  const stolen = await loadOnlineKeys(world.path('online'));
  await signOnline(forgeOf(world), stolen, { snapshotVersion: 1_000_000, timestampVersion: 1_000_000 });
  assert.equal((await client.check(signal)).version, 1_000_000);
  const fresh = newOnlineKeys();
  await signRoot(forgeOf(world), fresh, await loadRootKey(world.path('offline')));
  await signOnline(forgeOf(world), fresh);
  const outcome = await client.check(signal);
  assert.ok(outcome.version < 100, `version ${outcome.version}`);
  await rm(file(metadataFile('root', 2)));
  assert.equal((await (await open()).check(signal)).version, outcome.version, 'the new root is remembered');
});

test('indefinite freeze: refuses a mirror that stands still when its signatures expire', async (t) => {
  const { world, open } = await setUp(t);
  await world.publish(1);
  await expireSoon(world);
  const client = await open();
  const { expires } = await client.check(signal);
  await new Promise((resolve) => setTimeout(resolve, expires.getTime() - Date.now() + 50));
  await assert.rejects(client.check(signal), withCode('repository-expired'));
  await assert.rejects(client.kernelPolicy(BUILD_ID, signal), withCode('repository-expired'));
  await assert.rejects((await open({ directory: world.path('new') })).check(signal), withCode('repository-expired'));
});

test('indefinite freeze: verifies an expired livepatch at boot without network', async (t) => {
  const { world, open } = await setUp(t);
  await world.publish(1);
  await expireSoon(world);
  const client = await open();
  const { expires } = await client.check(signal);
  await client.fetchLivepatch(BUILD_ID, 1, signal);
  await new Promise((resolve) => setTimeout(resolve, expires.getTime() - Date.now() + 50));
  assert.equal((await client.verifyCached(BUILD_ID, 1)).target.serial, 1);
});

test('mix-and-match: refuses metadata of two moments together', async (t) => {
  const { world, open, web } = await setUp(t);
  await world.publish(1);
  const old = await keepState(world, 'old');
  await world.publish(2);
  const { signed } = world.repository.state.snapshot;
  web.tamper = async (request, response) => {
    if (request.url !== `/${metadataFile('snapshot', signed.version)}`) return false;
    response.end(await readFile(join(old, metadataFile('snapshot', signed.version - 1))));
    return true;
  };
  await assert.rejects((await open()).check(signal), withCode('repository-mismatch'));
});

test('endless data: bounds every kind of file', async (t) => {
  const { world, open, web } = await setUp(t);
  await world.publish(1);
  const endless = (ending: string) => {
    web.tamper = async (request, response) => {
      if (!request.url?.endsWith(ending)) return false;
      const chunk = Buffer.alloc(65_536, 32);
      for (let sent = 0; sent < 200 * 2 ** 20 && !response.destroyed; sent += chunk.length) {
        if (!response.write(chunk)) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return true;
    };
  };
  for (const ending of ['2.root.json', 'timestamp.json', 'snapshot.json', 'targets.json']) {
    endless(ending);
    const client = await open({ directory: world.path(`cache-${ending}`) });
    await assert.rejects(client.check(signal), withCode('repository-too-large'), ending);
  }
  web.tamper = undefined;
  const client = await open();
  await client.check(signal);
  endless('livepatch.ko');
  await assert.rejects(client.fetchLivepatch(BUILD_ID, 1, signal), withCode('repository-too-large'));
});

test('extraneous dependencies: downloads only what was asked for', async (t) => {
  const { world, open, web } = await setUp(t);
  await world.publish(1);
  await world.publish(2);
  await world.publish(3, { kernel: { ...exampleManifest(3).kernel, buildId: OTHER_BUILD_ID } });
  const client = await open();
  await client.check(signal);
  web.log = [];
  await client.fetchLivepatch(BUILD_ID, 2, signal);
  const paths = web.log.map((line) => line.split('/').slice(0, 5).join('/'));
  assert.equal(paths.length, 3, web.log.join('\n'));
  assert.ok(
    web.log.every((line) => line.includes(BUILD_ID)),
    web.log.join('\n'),
  );
});

test('wrong software: refuses a kernel’s role that signs for another kernel or for policy', async (t) => {
  const { world, open } = await setUp(t);
  await world.publish(1);
  const keys = await loadOnlineKeys(world.path('online'));
  const meta = await signRole(forgeOf(world), kernelRole(BUILD_ID), world.releaseKey, (signed) => {
    const file = signed.targets[modulePath(BUILD_ID, 1)];
    signed.targets[modulePath(OTHER_BUILD_ID, 1)] = file;
    signed.targets[manifestPath(OTHER_BUILD_ID, 1)] = file;
    signed.targets[`policy/${OTHER_BUILD_ID}.json`] = file;
  });
  await signOnline(forgeOf(world), keys, { meta });
  const client = await open();
  await client.check(signal);
  await assert.rejects(client.fetchLivepatch(OTHER_BUILD_ID, 1, signal), withCode('not-found'));
  assert.equal(await client.kernelPolicy(OTHER_BUILD_ID, signal), undefined);
});

test('wrong software: refuses a livepatch signed under the wrong build id', async (t) => {
  const { world, open, file } = await setUp(t);
  await world.publish(1);
  await world.publish(2, { kernel: { ...exampleManifest(2).kernel, buildId: OTHER_BUILD_ID } });
  // As above: the shape is that of the role published two lines before.
  const other = (await world.repository.state.role(kernelRole(OTHER_BUILD_ID)))?.toJSON() as unknown as SignedJson;
  const meta = await signRole(forgeOf(world), kernelRole(BUILD_ID), world.releaseKey, (signed) => {
    signed.targets[modulePath(BUILD_ID, 1)] = other.signed.targets[modulePath(OTHER_BUILD_ID, 1)];
    signed.targets[manifestPath(BUILD_ID, 1)] = other.signed.targets[manifestPath(OTHER_BUILD_ID, 1)];
  });
  await cp(file(`targets/kernels/${OTHER_BUILD_ID}/1`), file(`targets/kernels/${BUILD_ID}/1`), { recursive: true });
  await signOnline(forgeOf(world), await loadOnlineKeys(world.path('online')), { meta });
  const client = await open();
  await client.check(signal);
  await assert.rejects(client.fetchLivepatch(BUILD_ID, 1, signal), withCode('repository-mismatch'));
  await assert.rejects(client.verifyCached(BUILD_ID, 1), withCode('not-cached'));
});

test('slow retrieval: gives up on no answer, a stall, and a trickle', async (t) => {
  const { world, open, web } = await setUp(t);
  const limits = { headersMs: 200, stallMs: 200, graceMs: 400, minBytesPerSecond: 10_000 };
  const hang: Record<string, typeof web.tamper> = {
    'no answer': () => true,
    stall: (_request, response) => {
      response.write('{');
      return true;
    },
    trickle: async (_request, response) => {
      for (let n = 0; n < 100 && !response.destroyed; n++) {
        response.write(' ');
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return true;
    },
  };
  for (const [name, tamper] of Object.entries(hang)) {
    web.tamper = tamper;
    const client = await open({ limits, directory: world.path(`cache ${name}`) });
    const started = performance.now();
    await assert.rejects(client.check(signal), withCode('repository-slow'), name);
    assert.ok(performance.now() - started < 8000, name);
  }
});

test('malicious mirror: can withhold, and nothing else', async (t) => {
  const { world, open, web } = await setUp(t);
  await world.publish(1);
  const client = await open();
  await client.check(signal);
  await world.publish(2);
  web.tamper = (request, response) => {
    if (request.url?.endsWith('timestamp.json')) return false;
    response.writeHead(404).end();
    return true;
  };
  await assert.rejects(client.check(signal), withCode('not-found'));
  web.tamper = undefined;
  await client.check(signal);
  assert.equal((await client.fetchLivepatch(BUILD_ID, 2, signal)).target.serial, 2);
});

test('key compromise: accepts no module of an attacker who holds the three online keys', async (t) => {
  const { world, open, file } = await setUp(t);
  await world.publish(1);
  const stolen = await loadOnlineKeys(world.path('online'));
  const role = kernelRole(BUILD_ID);
  const forged = await signRole(forgeOf(world), role, stolen.policy, (signed) => {
    signed.targets[modulePath(BUILD_ID, 2)] = signed.targets[modulePath(BUILD_ID, 1)];
  });
  await signOnline(forgeOf(world), stolen, { meta: forged });
  const client = await open();
  await client.check(signal);
  await assert.rejects(client.fetchLivepatch(BUILD_ID, 2, signal), withCode('repository-unsigned'));
  await rm(file(metadataFile(role, 2)));
});

test('key compromise: lets the online keys neither withdraw nor downgrade below the floor', async (t) => {
  const { world, web, open } = await setUp(t);
  for (const n of [1, 2, 3]) await world.publish(n);
  const online = await loadOnlineKeys(world.path('online'));
  const policy = async (said: Partial<KernelPolicy>) => {
    const text = JSON.stringify({ ...(await world.repository.kernelPolicy(BUILD_ID)), ...said });
    const forge = await openForge(world.created.repository);
    const path = kernelPolicyPath(BUILD_ID);
    const target = await putTarget(forge, path, Buffer.from(text));
    const meta = await signRole(forge, 'policy', online.policy, (signed) => {
      if (said.channels === undefined) delete signed.targets[path];
      else signed.targets[path] = target;
    });
    await signOnline(forge, online, { meta });
    const client = await open();
    await client.check(signal);
    const obeyed = await client.kernelPolicy(BUILD_ID, signal);
    return obeyed === undefined ? undefined : chosenSerial(obeyed, 'stable', 'host-1');
  };
  const downgrade = {
    channels: { stable: { settled: 1, rollout: null } },
    withdrawn: [2, 3].map((serial) => ({ serial, reason: 'x' })),
  };
  assert.equal(await policy(downgrade), 1, 'without a floor');
  const operator = await openOperator({ directory: world.path('offline'), url: web.url, signal });
  await world.repository.acceptRotation(await (await prepareFloor(operator, BUILD_ID, 2)).sign());
  assert.equal(await policy(downgrade), 2);
  assert.equal(await policy({ ...downgrade, channels: { stable: { settled: 99, rollout: null } } }), 2);
  assert.equal(await policy({ channels: {} }), 2);
  assert.equal(await policy({}), 2, 'no policy of this kernel at all');
});

test('key compromise: accepts nothing from a stolen release key alone', async (t) => {
  const { world, open } = await setUp(t);
  await world.publish(1);
  const client = await open();
  await client.check(signal);
  await signRole(forgeOf(world), kernelRole(BUILD_ID), world.releaseKey, (signed) => {
    signed.targets[modulePath(BUILD_ID, 2)] = signed.targets[modulePath(BUILD_ID, 1)];
  });
  assert.equal((await client.check(signal)).changed, false);
  await assert.rejects(client.fetchLivepatch(BUILD_ID, 2, signal), withCode('not-found'));
});

test('key compromise: refuses a new root without the old root key’s signature', async (t) => {
  const { world, open } = await setUp(t);
  const attacker = generateKey('root').key;
  const fresh = newOnlineKeys();
  await signRoot(forgeOf(world), fresh, attacker);
  await signOnline(forgeOf(world), fresh);
  await assert.rejects((await open()).check(signal), withCode('repository-unsigned'));
});
