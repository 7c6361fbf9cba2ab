import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patchServer } from '../testing/patch-server.ts';
import { keyCommands } from './key.ts';

test('lists enrolled hosts and machines that fetch packages separately', async (t) => {
  const { kmend, api } = await patchServer(t, [keyCommands]);
  const made = await kmend('key', 'create', '--name', 'web', '--seats', '3', '--json');
  const { id, key } = JSON.parse(made.out);
  for (const user of ['kmend-a', 'kmend-b']) {
    const authorization = `Basic ${Buffer.from(`${user}:${key}`).toString('base64')}`;
    // There is no repository yet: the gate comes before.
    assert.equal((await fetch(`${api.url}/packages/apt/x`, { headers: { authorization } })).status, 404);
  }
  const listed = await kmend('key', 'list');
  assert.match(listed.out, /SEATS +USED +PACKAGES +STATE/);
  assert.match(listed.out, new RegExp(`^${id} +web +stable +3 +2 +2 +valid$`, 'm'));
  const [shown] = JSON.parse((await kmend('key', 'list', '--json')).out).keys;
  assert.deepEqual([shown.used, shown.packageHosts], [2, 2]);
});
