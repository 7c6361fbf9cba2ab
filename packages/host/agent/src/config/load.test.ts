import assert from 'node:assert/strict';
import { test } from 'node:test';
import { code } from '../testing/errors.ts';
import { TestKernel } from '../testing/kernel.ts';
import { loadConfig, mergeConfig } from './load.ts';
import { repositoryUrls } from './schema.ts';

test('merges fragments over the configuration in the order of their names', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const edges = kernel.edges();
  await assert.rejects(loadConfig(edges), code('not-enrolled'));
  await kernel.write('/etc/kmend-agent/config.json', '{"server":"https://a.example/","soakSeconds":1}');
  await kernel.write('/etc/kmend-agent/config.d/20-b.json', '{"soakSeconds":3}');
  await kernel.write('/etc/kmend-agent/config.d/10-a.json', '{"soakSeconds":2,"channel":"canary"}');
  await kernel.write('/etc/kmend-agent/config.d/notes.txt', 'not looked at');
  const config = await loadConfig(edges);
  assert.deepEqual([config.soakSeconds, config.channel, config.server], [3, 'canary', 'https://a.example']);
  assert.deepEqual(repositoryUrls(config), ['https://a.example/repository']);
  await kernel.write('/etc/kmend-agent/config.d/30-c.json', '[1]');
  await assert.rejects(loadConfig(edges), code('config-invalid'));
});

test('refuses unknown keys, wrong values and plain HTTP to another machine', () => {
  for (const fragment of [
    { server: 'https://a', sever: 1 },
    { server: 'ftp://a' },
    { server: 'https://a', channel: 'beta' },
    { server: 'https://a', soakSeconds: -1 },
    { server: 'http://10.0.2.2:8000' },
    { server: 'http://localhost.example' },
    { server: 'https://a', proxy: 'http://me:secret@proxy:3128' },
    { server: 'https://a', mirrors: ['https://b', 'file:///c'] },
    {},
  ]) {
    assert.throws(() => mergeConfig([fragment]), code('config-invalid'), JSON.stringify(fragment));
  }
  assert.equal(mergeConfig([{ server: 'http://127.0.0.1:1' }]).server, 'http://127.0.0.1:1');
  assert.equal(mergeConfig([{ server: 'http://10.0.2.2', allowPlainHttp: true }]).allowPlainHttp, true);
});
