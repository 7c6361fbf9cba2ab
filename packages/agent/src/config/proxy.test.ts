import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxySettings } from './proxy.ts';

test('the configuration stands above the environment; none means none', () => {
  const environment = { HTTPS_PROXY: 'http://a:1', https_proxy: 'http://b:2', NO_PROXY: 'x', PATH: '/bin' };
  assert.deepEqual(proxySettings({}, environment), { https_proxy: 'http://b:2', no_proxy: 'x' });
  assert.deepEqual(proxySettings({ proxy: 'http://c:3', noProxy: 'y' }, environment), {
    http_proxy: 'http://c:3',
    https_proxy: 'http://c:3',
    no_proxy: 'y',
  });
  assert.deepEqual(proxySettings({ proxy: 'none' }, environment), {});
  assert.deepEqual(proxySettings({}, { HTTP_PROXY: '' }), {});
});
