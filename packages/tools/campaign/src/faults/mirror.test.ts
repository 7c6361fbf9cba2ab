import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCode } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { openRepositoryClient, type RepositoryClient } from '@kmend/trust';
import { BUILD_ID, makeWorld, type World } from '@kmend/trust/testing';
import { HostileMirror, MODES, type Mode } from './mirror.ts';

/** Each mode of the hostile mirror against the client that every host uses. */
const { signal } = new AbortController();
/** Short, as the attacks that are slow are meant to be met. */
const LIMITS = { headersMs: 1500, stallMs: 800, graceMs: 2000, minBytesPerSecond: 2000 };
/** Seconds that frozen metadata holds. */
const SECONDS = 3;
/** What a host says when it meets the true repository again, after the versions that a thief signed. */
const OVERTAKEN = 'repository-rollback';

interface Scene {
  readonly world: World;
  readonly mirror: HostileMirror;
  readonly client: RepositoryClient;
  /**
   * What a host does at each check: ask, read the policies, fetch what they want. Its serial, or the code of its
   * failure.
   */
  live(): Promise<number | string | undefined>;
}

async function set(t: TestContext): Promise<Scene> {
  const world = await makeWorld(t);
  await world.publish(1);
  const { repository, root } = world.created;
  const owner = {
    repository,
    onlineKeys: world.path('online'),
    offlineKeys: world.path('offline'),
    clock: systemClock,
  };
  const mirror = await HostileMirror.start(owner);
  t.after(() => mirror.close());
  const client = await openRepositoryClient({ directory: world.path('cache'), root, url: mirror.url, limits: LIMITS });
  const live: Scene['live'] = async () => {
    try {
      await client.check(signal);
      await client.fleetPolicy(signal);
      const policy = await client.kernelPolicy(BUILD_ID, signal);
      const serial = policy?.channels.stable?.settled;
      assert.ok(typeof serial === 'number');
      return (await client.fetchLivepatch(BUILD_ID, serial, signal)).target.serial;
    } catch (error) {
      return errorCode(error);
    }
  };
  return { world, mirror, client, live };
}

/** What the host holds as verified is what the owner published, byte for byte. */
async function holdsOnlyTruth({ world, client }: Scene): Promise<number[]> {
  const held: number[] = [];
  for (const serial of [1, 2, 3]) {
    const livepatch = await client.verifyCached(BUILD_ID, serial).catch(() => undefined);
    if (livepatch === undefined) continue;
    held.push(serial);
    const [is, published] = [
      await readFile(livepatch.modulePath),
      await readFile(world.path(`artifact-${serial}`, 'livepatch.ko')),
    ];
    assert.ok(is.equals(published), `serial ${serial} is not what was published`);
  }
  return held;
}

/** Lives until something is said; the last word, and whether anything new was taken before it. */
async function untilSaid(scene: Scene, mode: Mode): Promise<string | undefined> {
  const until = Date.now() + (SECONDS + 5) * 1000;
  for (let round = 0; round < 3 || (mode.threat === 'indefinite freeze' && Date.now() < until); round++) {
    const said = await scene.live();
    if (typeof said === 'string') return said;
    if (mode.threat === 'indefinite freeze') await delay(300);
  }
  return undefined;
}

describe('the hostile mirror', { concurrency: 4 }, () => {
  for (const mode of MODES as readonly Mode[]) {
    test(`${mode.threat}: ${mode.name}: ${mode.description}`, async (t) => {
      const scene = await set(t);
      const { world, mirror, client, live } = scene;
      assert.equal(await live(), 1);
      if (mode.name === 'retired-keys') {
        await mirror.rotateKeys();
        assert.equal(await live(), 1);
      } else await world.publish(2);

      await mirror.be(mode.name as (typeof MODES)[number]['name'], { seconds: SECONDS });
      const said = await untilSaid(scene, mode);
      if (mode.codes.length === 0) assert.equal(said, undefined);
      else
        assert.ok(
          mode.codes.some((code) => code === said),
          `${said} instead of ${mode.codes}`,
        );
      // One that only the release key was stolen for changes nothing that anyone asks for.
      if (mode.name !== 'release-key') assert.ok(mirror.answered > 0, mirror.log.join('\n'));
      assert.deepEqual(
        mirror.log.filter((line) => line.includes('extraneous')),
        [],
      );
      const held = await holdsOnlyTruth(scene);
      // The role of another kernel lists nothing of this one: nothing can be verified against it until the true one
      // comes back.
      assert.equal(held.includes(1), mode.name !== 'wrong-role', 'what was there stays');
      await assert.rejects(
        client.fetchLivepatch(BUILD_ID, 3, signal),
        'a forged livepatch is refused for every client',
      );
      assert.ok(!held.includes(3));
      if (mode.met === 'fetch') assert.ok(!held.includes(2), 'nothing new is taken');

      mirror.beHonest();
      if (mode.heals === 'with new keys') {
        assert.equal(await live(), OVERTAKEN);
        await mirror.rotateKeys();
      }
      const newest = mode.name === 'retired-keys' ? 1 : 2;
      assert.equal(await live(), newest);
      assert.ok((await holdsOnlyTruth(scene)).includes(newest));
      assert.equal(mirror.answered, 0);
    });
  }
});
