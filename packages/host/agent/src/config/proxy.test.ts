import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../error.ts';
import { proxySettings } from './proxy.ts';

test('prefers the configuration over the environment, and uses no proxy for none', () => {
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

test('refuses a proxy that is no http URL, without showing its password', () => {
  for (const value of [
    'proxy:3128',
    '10.0.0.1:3128',
    'proxy',
    '//proxy:1',
    'socks5://proxy:1',
    'http://',
    'me:secret@proxy:3128',
  ])
    for (const name of ['HTTPS_PROXY', 'http_proxy'])
      assert.throws(
        () => proxySettings({}, { [name]: value }),
        (error) =>
          error instanceof AgentError &&
          error.code === 'config-invalid' &&
          /with its scheme/.test(error.hint ?? '') &&
          !error.message.includes('secret'),
        value,
      );
  assert.deepEqual(proxySettings({}, { NO_PROXY: 'proxy:3128' }), { no_proxy: 'proxy:3128' });
});
