import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runKmend } from '../testing/run.ts';
import { serverCommand } from './server.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

test('reloads the server’s files on SIGHUP without ending it', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-cli-hangup-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const child = spawn(process.execPath, [MAIN, 'server', '--port', '0', '--json'], {
    env: { ...process.env, KMEND_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => void child.kill('SIGKILL'));
  let log = '';
  child.stderr.on('data', (bytes) => (log += bytes.toString()));
  const [first] = await once(child.stdout, 'data');
  const { url } = JSON.parse(String(first));
  child.kill('SIGHUP');
  while (!log.includes('nothing to read again')) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});

test('rejects invalid numbers and proxies before it creates anything', async () => {
  for (const [argv, code] of [
    [['--silent-after', '0'], 2],
    [['--report-interval', '5'], 2],
    [['--seat-days', 'never'], 2],
    [['--trust-proxy', 'proxy.example.org'], 1],
  ] as const) {
    const { exitCode, err } = await runKmend(
      [serverCommand],
      { KMEND_HOME: '/nonexistent' },
      'server',
      '--port',
      '0',
      ...argv,
    );
    assert.equal(exitCode, code, err);
  }
});
