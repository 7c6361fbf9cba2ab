import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startWeb } from '../testing/web.ts';
import { makeWorld } from '../testing/world.ts';

const run = promisify(execFile);

/** Runs a client whose directory is a file system of `size`, in a mount namespace of its own; prints what it met. */
const CLIENT = `
import { writeFileSync, rmSync } from 'node:fs';
import { openRepositoryClient } from ${JSON.stringify(new URL('./client.ts', import.meta.url).href)};
const [root, url, directory, buildId] = process.argv.slice(1);
const client = await openRepositoryClient({ directory, root, url });
const { signal } = new AbortController();
const code = (work) => work.then(() => 'done', (error) => error.code);
const seen = [await code(client.check(signal))];
let filled = 0;
try { for (;; filled++) writeFileSync(directory + '/fill-' + filled, Buffer.alloc(4096, 1)); } catch {}
seen.push(await code(client.fetchLivepatch(buildId, 1, signal)));
seen.push(await code(client.check(signal)));
for (let n = 0; n <= filled; n++) rmSync(directory + '/fill-' + n, { force: true });
seen.push(await code(client.fetchLivepatch(buildId, 1, signal)), await code(client.verifyCached(buildId, 1)));
console.log(seen.join(' '));
`;

test('reports a full disk by code, and continues once there is space', async (t) => {
  const inside = ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=256k none "$1" && shift && exec "$@"', 'sh'];
  const world = await makeWorld(t);
  const probe = await run('unshare', [...inside, world.directory, 'true']).catch((error: Error) => error);
  if (probe instanceof Error) {
    t.skip(`no mount namespaces here: ${probe.message}`);
    return;
  }
  const { description } = await world.publish(1);
  assert.equal(description.serial, 1);
  const web = await startWeb(world.created.repository);
  t.after(() => web.close());
  const directory = await mkdtemp(join(tmpdir(), 'kmend-full-'));
  t.after(() => rm(directory, { recursive: true }));
  const { stdout } = await run('unshare', [
    ...inside,
    directory,
    process.execPath,
    '--input-type=module',
    '--eval',
    CLIENT,
    '--',
    world.created.root,
    web.url,
    directory,
    'ab'.repeat(20),
  ]);
  assert.equal(stdout.trim(), 'done disk-full done done done');
});
