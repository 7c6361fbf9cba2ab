import assert from 'node:assert/strict';
import { chmodSync, existsSync } from 'node:fs';
import { test } from 'node:test';
import { shells, TestHost } from './testing/host.ts';

const PROGRAM = '/fake/bin/insmod';

/** An insmod that does not come back: `before` is what it does until then. */
function hang(host: TestHost, before = ''): void {
  // timeout(1) takes half a second for a minute.
  host.write('/fake/bin/timeout', '#!/bin/dash\nshift\nexec /usr/bin/timeout 0.5 "$@"\n');
  // This insmod is a real process, and its end takes real time: on a busy machine more than ten fake sleeps do.
  const sleep = host.read('/fake/bin/sleep');
  host.write('/fake/bin/sleep', sleep.replace('\n', '\n/usr/bin/sleep 0.1\n'));
  const real = host.read(PROGRAM);
  host.write('/fake/bin/insmod-real', real);
  host.write(
    PROGRAM,
    `#!/bin/dash\nR=$KMEND_LIVEPATCH_ROOT\necho "hung $$" >>"$R/fake/hung"\n${before}\nexec /usr/bin/sleep 1000\n`,
  );
  for (const path of ['/fake/bin/timeout', '/fake/bin/sleep', '/fake/bin/insmod-real', PROGRAM])
    chmodSync(host.path(path), 0o755);
}

function unhang(host: TestHost): void {
  host.write(PROGRAM, host.read('/fake/bin/insmod-real'));
}

const isRetried = (host: TestHost): boolean => existsSync(host.path('/run/kmend-livepatch/retry'));

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: ends a hanging insmod without quarantining the livepatch`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    hang(host);
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome(), host.enabled()], [0, 'load-hung', []], ran.err);
    assert.match(ran.err, /insmod did not return within 60 seconds and was killed/);
    assert.deepEqual([host.state('quarantined'), host.state('livepatch'), isRetried(host)], [[], [], true]);
    const pid = Number(host.read('/fake/hung').split(' ')[1]);
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    unhang(host);
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), [module]);
  });

  test(`${name}: takes the state from sysfs if insmod hangs`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    hang(host, '"$R/fake/bin/insmod-real" "$1"');
    const ran = await host.run('sync');
    assert.deepEqual([ran.code, host.outcome()], [0, 'in-force'], ran.err);
    assert.deepEqual(host.enabled(), stack.map((it) => it.module).sort());
  });

  test(`${name}: frees the lock beside an insmod that cannot be killed, and waits until it has ended`, async (t) => {
    const host = new TestHost(t, shell);
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    // Who started it is stopped, so it stays as a process that is dead: as good as one that does not die.
    hang(
      host,
      'mkdir -p "$R/proc/$$"; echo insmod >"$R/proc/$$/comm"; echo "$PPID" >"$R/fake/parent"; kill -STOP "$PPID"',
    );
    const ran = await host.run('sync', '--package');
    const parent = Number(host.read('/fake/parent'));
    try {
      assert.deepEqual([ran.code, host.outcome()], [0, 'load-hung'], ran.err);
      assert.match(ran.err, /cannot be killed/);
      // Recorded as loading, in case the host goes down.
      assert.match(host.state('livepatch')[0] ?? '', new RegExp(`^${first.module} \\S+ loading `));
      unhang(host);
      assert.equal((await host.run('sync')).code, 5);
      assert.deepEqual([host.outcome(), host.calls(), isRetried(host)], ['load-hung', [], true]);
      assert.match(host.state('livepatch')[0] ?? '', / loading /);
    } finally {
      process.kill(parent, 'SIGCONT');
    }
    // Its number may be another one's by now.
    for (const pid of host.read('/run/kmend-livepatch/insmod').split(' ').slice(0, 1))
      host.write(`/proc/${pid}/comm`, 'sh\n');
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.enabled().length, 2);
    assert.ok(!existsSync(host.path('/run/kmend-livepatch/insmod')));
  });

  test(`${name}: waits for insmod without timeout(1)`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    const tools =
      'awk cat chmod cmp cp cut date flock gpgv grep head id mkdir od rm sed sha256sum sort stat tail tr wc';
    for (const tool of tools.split(' ')) {
      host.write(`/fake/bin/${tool}`, `#!/bin/dash\nexec /usr/bin/${tool} "$@"\n`);
      chmodSync(host.path(`/fake/bin/${tool}`), 0o755);
    }
    const ran = await host.runIn({ KMEND_LIVEPATCH_PATH: host.path('/fake/bin') }, 'sync');
    assert.deepEqual([ran.code, host.enabled().length], [0, 1], ran.err);
  });
}
