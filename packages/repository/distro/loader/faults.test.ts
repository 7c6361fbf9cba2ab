import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { claimText } from '@kmend/rules';
import { shells, TestHost } from './testing/host.ts';

const isRoot = process.getuid?.() === 0;
const STATE = '/var/lib/kmend-livepatch';

const CLAIM = '/run/kmend-agent/loader/claim';

for (const [name, shell] of Object.entries(shells)) {
  test(`${name}: with a full /var asks nothing of the kernel, reports in /run, and retries`, {
    skip: !isRoot,
  }, async (t) => {
    const host = new TestHost(t, shell);
    host.mount(STATE, '32k');
    const [first, second] = host.installStack(2);
    assert.ok(first && second);
    host.remove(second.directory);
    assert.equal((await host.run('sync')).code, 0);
    const before = host.read(`${STATE}/state`);
    assert.throws(() => writeFileSync(host.path(`${STATE}/filler`), Buffer.alloc(100_000)));
    host.calls();
    host.install({ position: 2, on: [first.module] });
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome(), host.calls()], [0, 'disk-full', []], ran.err);
    assert.equal(host.read(`${STATE}/state`), before);
    assert.deepEqual(readdirSync(host.path(STATE)).sort(), ['filler', 'state']);
    assert.ok(existsSync(host.path('/run/kmend-livepatch/retry')));
    // Neither is one taken out.
    host.remove(first.directory);
    host.remove(second.directory);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(host.calls(), []);
    const status = await host.run('status', '--json');
    assert.equal(JSON.parse(status.out).saved, false);
    assert.match((await host.run('status')).out, /^not saved/m);
    host.install({ position: 1 });
    host.install({ position: 2, on: [first.module] });
    host.remove(`${STATE}/filler`);
    assert.equal((await host.run('sync')).code, 0);
    assert.equal(host.enabled().length, 2);
    assert.ok(!existsSync(host.path('/run/kmend-livepatch/retry')));
    assert.ok(!existsSync(host.path('/run/kmend-livepatch/state')));
  });

  test(`${name}: reports a /var that cannot be written`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    // A file in place of the directory fails for root too.
    host.write(STATE, '');
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.calls()], [0, []], ran.err);
    assert.match(host.read('/run/kmend-livepatch/state'), /^outcome \S+ disk-full /m);
  });

  test(`${name}: moves a damaged state aside and reports it; keeps one of a later version`, async (t) => {
    const host = new TestHost(t, shell);
    const only = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.write(`${STATE}/state`, '\0\0\0');
    host.calls();
    assert.equal((await host.run('sync')).code, 5);
    // What runs is known by its package, and watched again.
    assert.deepEqual([host.outcome(), host.calls(), host.enabled()], ['state-damaged', [], [only.module]]);
    assert.equal(host.state('livepatch').length, 1);
    assert.ok(existsSync(host.path(`${STATE}/state.damaged`)));
    assert.equal((await host.run('sync')).code, 0);
    host.write(`${STATE}/state`, 'kmend-livepatch-state 2\nall new\n');
    const ran = await host.run('sync');
    assert.equal(ran.code, 5);
    assert.match(ran.err, /state-newer/);
    assert.equal(host.read(`${STATE}/state`), 'kmend-livepatch-state 2\nall new\n');
  });

  test(`${name}: does nothing while the agent has a livepatch in force`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    const agents = 'kmend_aaaaaaaaaaaa';
    for (const state of ['loading', 'loaded'] as const) {
      host.write(CLAIM, claimText({ module: agents, state }));
      if (state === 'loaded') host.loadForeign(agents);
      assert.equal((await host.run('sync')).code, 5);
      assert.deepEqual([host.problems(), host.calls()], [[`conflict-agent ${agents}`], []], state);
    }
    // Without a claim it is a foreign livepatch.
    host.remove(CLAIM);
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.calls()], ['conflict-livepatch', []]);
    // A livepatch that is no longer in the kernel, although the agent does not know yet, blocks nothing.
    host.write(CLAIM, claimText({ module: agents, state: 'loaded' }));
    host.remove(`/sys/kernel/livepatch/${agents}`);
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: loads nothing on a claim of the agent that it cannot read`, async (t) => {
    const good = claimText({ module: 'kmend_aaaaaaaaaaaa', state: 'loaded' });
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    const bad = {
      empty: '',
      'of a later version': good.replace(' 1\n', ' 2\n'),
      'cut short': good.slice(0, -10),
      'with more in it': `${good}more of it\n`,
      'too long': `${good.slice(0, -1)}${' '.repeat(300)}\n`,
      'of another module': good.replace('kmend_', 'other_'),
      'in another state': good.replace('loaded', 'lost'),
      'in another order': 'state loaded\nmodule kmend_aaaaaaaaaaaa\nkmend-agent-claim 1\n',
      binary: '\0\0\0',
    };
    for (const [what, text] of Object.entries(bad)) {
      host.write(CLAIM, text);
      assert.equal((await host.run('sync')).code, 5, what);
      assert.deepEqual([host.problems(), host.calls()], [['conflict-agent -'], []], what);
    }
    host.write(CLAIM, good);
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: loads nothing beside the module of another live patch system`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/sys/module/kmodlve_kcare/coresize', '4096\n');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.problems(), host.calls()], [['conflict-module kmodlve_kcare'], []]);
    host.remove('/sys/module/kmodlve_kcare');
    host.write('/sys/module/livepatch/coresize', '4096\n');
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: does nothing beside a foreign livepatch, and does not touch it`, async (t) => {
    const host = new TestHost(t, shell);
    host.loadForeign('kpatch_something');
    host.install({ position: 1, kind: 'cumulative' });
    assert.equal((await host.run('sync', '--package')).code, 0);
    assert.deepEqual([host.outcome(), host.calls()], ['conflict-livepatch', []]);
    assert.deepEqual(host.enabled(), ['kpatch_something']);
    assert.equal((await host.run('revert')).code, 5);
    assert.deepEqual(host.enabled(), ['kpatch_something']);
  });

  test(`${name}: reverts its own livepatches beside foreign ones`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    host.calls();
    host.loadForeign('kpatch_something');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(host.calls(), []);
    assert.equal((await host.run('revert')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled()], ['conflict-livepatch', ['kpatch_something']]);
    assert.deepEqual(
      host.calls(),
      stack.toReversed().map((it) => `rmmod ${it.module}`),
    );
  });

  test(`${name}: quarantines what the kernel refuses, with the kernel’s words`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(3);
    const second = stack[1];
    assert.ok(second);
    host.write(`/fake/refuse.${second.module}`, 'Invalid module format');
    host.write(
      '/fake/says',
      '[    9.000001] kmend: "version magic" \\ should be <6.1>\n[    9.000002] livepatch: no\n',
    );
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome()], [0, 'load-refused'], ran.err);
    assert.deepEqual(host.enabled(), [stack[0]?.module]);
    assert.deepEqual(host.state('kernel-log'), ['kmend: "version magic" \\ should be <6.1>', 'livepatch: no']);
    assert.match(host.state('quarantined')[0] ?? '', new RegExp(`${second.module} load-refused \\S+ .*Invalid module`));
    host.calls();
    host.remove(`/fake/refuse.${second.module}`);
    // Not asked again, and the words stay.
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.calls(), host.state('kernel-log').length], [[], 2]);
    assert.ok(!existsSync(host.path('/run/kmend-livepatch/retry')));
    assert.equal((await host.run('resume')).code, 0);
    assert.deepEqual([host.enabled().length, host.state('kernel-log')], [3, []]);
  });

  test(`${name}: does not blame a livepatch for what the host lacks`, async (t) => {
    const troubles: Record<string, [code: string, again: boolean]> = {
      'Cannot allocate memory': ['memory-low', true],
      'Input/output error': ['disk-failing', true],
      'Device or resource busy': ['conflict-transition', true],
      'Key was rejected by service': ['module-refused', false],
      'Operation not permitted': ['module-refused', false],
    };
    for (const [words, [code, again]] of Object.entries(troubles)) {
      const host = new TestHost(t, shell);
      const { module } = host.install({ position: 1 });
      host.write(`/fake/refuse.${module}`, words);
      assert.equal((await host.run('sync')).code, 5);
      assert.deepEqual([host.outcome(), host.state('quarantined'), host.state('livepatch')], [code, [], []], words);
      assert.equal(existsSync(host.path('/run/kmend-livepatch/retry')), again, words);
      host.remove(`/fake/refuse.${module}`);
      assert.equal((await host.run('sync')).code, 0);
      assert.deepEqual(host.enabled(), [module]);
    }
  });

  test(`${name}: refuses to load on an unfit kernel or host`, async (t) => {
    const states: Record<string, (host: TestHost) => void> = {
      'kernel-tainted': (host) => host.write('/proc/sys/kernel/tainted', '128\n'),
      'kernel-without-livepatch': (host) => host.remove('/sys/kernel/livepatch'),
      'memory-low': (host) => host.write('/proc/meminfo', 'MemAvailable:     20000 kB\n'),
      'kernel-unknown': (host) => host.write('/sys/kernel/notes', 'nothing'),
      'tool-failed': (host) => host.write('/fake/bin/insmod', '#!/nowhere/sh\n'),
    };
    for (const [code, change] of Object.entries(states)) {
      const host = new TestHost(t, shell);
      host.install({ position: 1 });
      change(host);
      const ran = await host.run('sync', '--package');
      assert.deepEqual([ran.code, host.outcome(), host.calls()], [0, code, []], ran.err);
      assert.equal((await host.run('sync')).code, 5, code);
    }
    // A warning is no crash.
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/proc/sys/kernel/tainted', '512\n');
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: keeps the older revision if memory is too low for the newer one`, async (t) => {
    const host = new TestHost(t, shell);
    const older = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.install({ position: 1, version: '1.2' });
    host.write('/proc/meminfo', 'MemAvailable:     20000 kB\n');
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.enabled()], ['memory-low', [older.module]]);
  });

  test(`${name}: reports a transition that does not end, and continues later`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(3);
    host.write('/fake/blocked', '');
    host.write('/proc/812/task/813/patch_state', '0\n');
    host.write('/proc/812/task/813/comm', 'a "task"\n');
    host.write('/proc/1/task/1/patch_state', '1\n');
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.outcome()], [0, 'transition-stuck'], ran.err);
    assert.match(ran.err, /blocked by: a "task" \(813\)/);
    assert.equal(host.calls().length, 1);
    assert.deepEqual([(await host.run('status')).code, host.read('/run/kmend-livepatch/soak')], [1, '']);
    assert.ok(existsSync(host.path('/run/kmend-livepatch/retry')));
    // Still so, and then not any more.
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual(host.calls(), []);
    host.remove('/fake/blocked');
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual(host.enabled(), stack.map((it) => it.module).sort());
    assert.ok(!existsSync(host.path('/run/kmend-livepatch/retry')));
  });

  test(`${name}: cleans the names of tasks`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/fake/blocked', '');
    host.write('/proc/812/task/813/patch_state', '0\n');
    host.write('/proc/812/task/813/comm', '\x1b[2J\u009b31m\u202ex\n');
    const ran = await host.run('sync');
    assert.match(ran.err, /blocked by: .*31m.*x \(813\)/);
    const shown = await host.run('status');
    assert.doesNotMatch((ran.err + shown.out + shown.err).replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
  });

  test(`${name}: reverses the transition of a livepatch that must go`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    host.write('/fake/blocked', '');
    assert.equal((await host.run('sync')).code, 5);
    assert.equal((await host.run('revert')).code, 5);
    assert.equal(host.outcome(), 'transition-stuck');
    assert.deepEqual(host.enabled(), []);
    host.remove('/fake/blocked');
    assert.equal((await host.run('sync')).code, 0);
    assert.deepEqual([host.outcome(), host.modules(), host.state('livepatch')], ['held', [], []]);
  });

  test(`${name}: does not reload a module that could not be unloaded`, async (t) => {
    const host = new TestHost(t, shell);
    const { module } = host.install({ position: 1 });
    assert.equal((await host.run('sync')).code, 0);
    host.write('/fake/busy', '');
    assert.equal((await host.run('revert')).code, 0);
    assert.deepEqual([host.enabled(), host.modules()], [[], [module]]);
    assert.equal((await host.run('resume')).code, 5);
    assert.equal(host.outcome(), 'conflict-module');
    host.remove('/fake/busy');
    assert.equal((await host.run('sync')).code, 0);
  });

  test(`${name}: makes a second run wait, and loads each livepatch once`, async (t) => {
    const host = new TestHost(t, shell);
    const stack = host.installStack(3);
    const runs = await Promise.all([host.run('sync'), host.run('sync', '--package'), host.run('sync')]);
    assert.deepEqual(
      runs.map((it) => it.code),
      [0, 0, 0],
    );
    assert.deepEqual(
      host.calls(),
      stack.map((it) => `insmod ${it.module}`),
    );
  });

  test(`${name}: a run without the lock leaves a note for the retry unit`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    // The lock is held for longer than any run waits.
    host.write('/fake/bin/flock', '#!/bin/dash\nexit 1\n');
    execFileSync('chmod', ['755', host.path('/fake/bin/flock')]);
    const ran = await host.run('sync', '--package');
    assert.deepEqual([ran.code, host.calls()], [0, []]);
    assert.match(ran.err, /\(busy\)/);
    assert.ok(existsSync(host.path('/run/kmend-livepatch/retry-busy')));
    assert.equal((await host.run('sync')).code, 5);
  });

  test(`${name}: reports an invalid line of the configuration and continues`, async (t) => {
    const host = new TestHost(t, shell);
    host.install({ position: 1 });
    for (const line of ['wait forever', 'wait 1 2', 'patience 3', 'soak 1234567', 'wait', 'take-back -1', 'depth x']) {
      host.write('/etc/kmend-livepatch/config', `${line}\n`);
      assert.equal((await host.run('sync')).code, 0, line);
      assert.deepEqual(host.problems(), ['config-invalid -'], line);
    }
    assert.equal(host.enabled().length, 1);
  });

  test(`${name}: rejects wrong usage, and answers help without root`, async (t) => {
    const host = new TestHost(t, shell);
    for (const args of [
      [],
      ['load'],
      ['sync', '--force'],
      ['status', 'x'],
      ['hold', 'x'],
      ['take', '--over'],
      ['--x'],
    ]) {
      assert.equal((await host.run(...args)).code, 6, args.join(' '));
    }
    assert.match((await host.run('--help')).out, /^ {2}sync /m);
    assert.match((await host.run('--version')).out, /^kmend-livepatch \d/);
    assert.deepEqual(readdirSync(host.path('/run')), ['systemd']);
  });
}

/** Each life takes seconds: some of the steps are tried, evenly over all. */
const STRIDE = 4;

test('finishes in the next run what a killed run left', async (t) => {
  const [shell = []] = Object.values(shells);
  let lives = 0;
  for (let at = 1; ; at += STRIDE) {
    const host = new TestHost(t, shell);
    // An upgrade in the stack: out, in, and the state in between.
    const before = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    const after = host.installStack(3, (position) => `${position}.${position === 1 ? 1 : 2}`);
    host.write('/fake/kill-at', `${at}`);
    host.write('/fake/step', '0');
    const killed = await host.run('sync', '--package');
    host.remove('/fake/kill-at');
    if (killed.code === 0) break;
    lives++;
    // The retry unit would continue, unless it was killed before it began, or when it had just ended.
    if (killed.err.includes('is in force') || host.calls().length > 2) {
      const ended = host.outcome() === 'in-force' && host.state('livepatch').length === 3;
      assert.ok(ended || existsSync(host.path('/run/kmend-livepatch/retry')), `killed at step ${at}`);
    }
    const ran = await host.run('sync');
    const what = `killed at step ${at}: ${ran.err}`;
    assert.deepEqual([ran.code, host.outcome(), host.state('quarantined')], [0, 'in-force', []], what);
    assert.deepEqual(host.enabled(), after.map((it) => it.module).sort(), what);
    assert.deepEqual(host.modules(), host.enabled(), what);
    assert.deepEqual(
      host.state('livepatch').map((it) => it.split(' ')[0]),
      after.map((it) => it.module),
      what,
    );
    assert.ok(!host.modules().includes(before[1]?.module ?? ''), what);
    const left = readdirSync(host.path('/run/kmend-livepatch/private'));
    assert.deepEqual(left, ['loaded'], what);
  }
  assert.ok(lives > 30 / STRIDE, `${lives}`);
});

test('recovers from a kill while a cumulative livepatch replaces the stack', async (t) => {
  const [shell = []] = Object.values(shells);
  for (let at = 1; ; at += STRIDE) {
    const host = new TestHost(t, shell);
    const stack = host.installStack(2);
    assert.equal((await host.run('sync')).code, 0);
    for (const it of stack) host.remove(it.directory);
    const cumulative = host.install({ position: 2, kind: 'cumulative', version: '1.1' });
    host.write('/fake/kill-at', `${at}`);
    host.write('/fake/step', '0');
    const killed = await host.run('sync', '--package');
    host.remove('/fake/kill-at');
    if (killed.code === 0) break;
    const ran = await host.run('sync');
    const what = `killed at step ${at}: ${ran.err}`;
    assert.deepEqual([ran.code, host.outcome(), host.state('quarantined')], [0, 'in-force', []], what);
    assert.deepEqual([host.enabled(), host.modules()], [[cumulative.module], [cumulative.module]], what);
    assert.equal(host.state('livepatch').length, 1, what);
  }
});
