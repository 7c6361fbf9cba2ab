import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fetcherEnvironment } from '../cli/environment.ts';
import { UNITS } from './build.ts';

const file = (name: string): string => readFileSync(new URL(`files/${name}`, import.meta.url), 'utf8');
const shells = [['/bin/dash'], ['/bin/bash', '--posix'], ['/bin/busybox', 'sh']];

for (const [shell = '', ...words] of shells) {
  test(`${shell} passes on exactly the variables of the environment that the program reads`, () => {
    const script = `${file('environment')}\nexec /usr/bin/env -0`;
    const given = {
      PATH: '/tmp:/usr/bin:/bin',
      HTTPS_PROXY: "http://it's:1/\nNODE_OPTIONS=--x",
      no_proxy: 'localhost',
      JOURNAL_STREAM: '8:1',
      LISTEN_FDS: '2',
      NODE_OPTIONS: '--require=/tmp/apm.js',
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
      NODE_EXTRA_CA_CERTS: '/tmp/ca.pem',
      OPENSSL_CONF: '/tmp/openssl.cnf',
      SSL_CERT_FILE: '/tmp/ca.pem',
      LD_LIBRARY_PATH: '/tmp',
      LD_BIND_NOW: '1',
      MALLOC_CHECK_: '3',
      GCONV_PATH: '/tmp',
      TZ: 'Asia/Tokyo',
      AWS_SECRET_ACCESS_KEY: 'secret',
      ENV: '/tmp/rc',
      HOME: '/root',
      MULTI: 'a\nexport HTTPS_PROXY=x\nb *',
    };
    const out = execFileSync(shell, [...words, '-c', script], { env: given, encoding: 'utf8' });
    const left = Object.fromEntries(
      out
        .split('\0')
        .filter(Boolean)
        .map((it) => [it.slice(0, it.indexOf('=')), it.slice(it.indexOf('=') + 1)]),
    );
    const { PATH: path, HTTPS_PROXY, no_proxy, JOURNAL_STREAM, LISTEN_FDS, ...more } = left;
    assert.equal(path, '/usr/sbin:/usr/bin:/sbin:/bin');
    assert.deepEqual(
      [HTTPS_PROXY, no_proxy, JOURNAL_STREAM, LISTEN_FDS],
      [given.HTTPS_PROXY, given.no_proxy, given.JOURNAL_STREAM, given.LISTEN_FDS],
    );
    // What the shell itself adds.
    for (const name of ['PWD', 'OLDPWD', 'SHLVL', '_']) delete more[name];
    assert.deepEqual(more, {});
  });
}

test('root’s command passes on exactly the variables that the program reads', () => {
  const [, names = ''] = /^ {4}(HTTP_PROXY \| .*)\) ;;$/m.exec(file('environment')) ?? [];
  const all = Object.fromEntries([...names.split(' | '), 'LISTEN_FDS', 'NODE_OPTIONS'].map((it) => [it, 'x']));
  assert.deepEqual(Object.keys(fetcherEnvironment(all)).sort(), names.split(' | ').sort());
});

/** The lines of a section that confine. */
function sandbox(name: string): string[] {
  const [, service = ''] = file(name).split('[Service]');
  const about = /^(Type|Exec\w+|Standard\w+|Restart\w*|Timeout\w+|#.*)/;
  return service
    .split('\n')
    .filter((line) => /^\w+=/.test(line) && !about.test(line) && !line.startsWith('WantedBy='))
    .sort();
}

test('runs the fetcher in the same sandbox from every unit', () => {
  const service = sandbox('kmend-agent.service');
  assert.ok(service.length > 30);
  for (const name of ['kmend-agent-report.service', 'kmend-agent-command@.service'])
    assert.deepEqual(sandbox(name), service, name);
});

test('runs no unit in a capture kernel or a container', () => {
  for (const name of UNITS.filter((it) => it !== 'kmend-agent-command@.service')) {
    assert.match(file(name), /^ConditionPathExists=!\/proc\/vmcore$/m, name);
    assert.match(file(name), /^ConditionVirtualization=!container$/m, name);
  }
});

test('starts the shutdown unit from every unit that loads', () => {
  for (const name of ['kmend-agent-boot.service', 'kmend-agent-boot-late.service', 'kmend-loader.service'])
    assert.match(file(name), /^Requires=.*\bkmend-agent-shutdown\.service/m, name);
});
