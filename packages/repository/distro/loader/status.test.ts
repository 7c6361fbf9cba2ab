import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LivepatchMeasure, LivepatchStatus } from '@kmend/protocol';
import { allShells, TestHost } from './testing/host.ts';

/** Titles that a JSON writer in a shell may stumble over. */
const titles: readonly (readonly [id: string, title: string])[] = [
  ['CVE-2026-0001', '"quoted" and \\ back\\slashed, \\n \\u0041 $HOME $(reboot) `id` %s %n'],
  ['CVE-2026-0002', 'ümlaut, ねこ, 🐈, \u00a0, \u2028, \ufeff, \ud7ff, \ue000, \u{10ffff}'],
  ['CVE-2026-0003', "it's </script> & -n -e * ? [a-z] ~ ! # ; | > <"],
  ['CVE-2026-0004', 'spaces  within,  and  at the end '],
];

for (const [name, shell] of Object.entries(allShells)) {
  test(`${name}: writes valid JSON of its schema with status --json, whatever titles hold`, async (t) => {
    const host = new TestHost(t, shell);
    const empty = await host.run('status', '--json');
    assert.equal(empty.code, 3);
    assert.deepEqual(LivepatchStatus.parse(JSON.parse(empty.out)).outcome, null);
    const odd = host.install({ position: 1, fixes: titles });
    const next = host.install({ position: 2, on: [odd.module] });
    host.install({ position: 3, buildId: 'cd'.repeat(20), release: '6.1.0-50-amd64' });
    host.write(`/fake/refuse.${next.module}`, 'Invalid "parameters" \\ \u0007');
    host.write('/fake/says', Buffer.from('[    9.000000] \xff\xc3\xe2\x82 "no" \\ \u001b[31m tab\n', 'latin1'));
    host.write('/usr/lib/kmend-livepatch/6.1.0-47-amd64/livepatch-broken/manifest', 'x');
    host.write('/usr/lib/kmend-livepatch/6.1.0-47-amd64/livepatch "odd" $(x)/manifest', 'x');
    assert.equal((await host.run('sync')).code, 5);
    const ran = await host.run('status', '--json');
    assert.deepEqual([ran.code, ran.err], [2, '']);
    assert.doesNotMatch(ran.out, /[^\n -~]/);
    const status = LivepatchStatus.parse(JSON.parse(ran.out));
    assert.deepEqual(status, JSON.parse(ran.out), 'nothing that the schema does not have');
    // read(1) takes spaces at the end away.
    const read = titles.map(([id, title]) => ({ id, title: title.trimEnd() }));
    assert.deepEqual(
      status.inForce.map((it) => [it.module, it.phase, it.fixes]),
      [[odd.module, 'soak', read]],
    );
    assert.deepEqual(
      status.installed.map((it) => [it.module, it.inForce, it.code]),
      [
        [odd.module, true, null],
        [next.module, false, 'load-refused'],
      ],
    );
    assert.deepEqual(status.kernelLog, ['\ufffd\ufffd\ufffd\ufffd "no" \\ [31m tab']);
    assert.deepEqual([status.otherKernels, status.exitCode, status.saved], [1, 2, true]);
    assert.equal(status.quarantined[0]?.module, next.module);
    assert.deepEqual(status.unusable, [{ package: 'livepatch-broken', code: 'manifest-garbage' }]);
    assert.ok(status.problems.every((it) => it.hint !== ''));
    const text = await host.run('status');
    assert.deepEqual([text.code, text.err], [2, '']);
    assert.match(text.out, new RegExp(`^in force: ${odd.module} .* 1\\.1, soak, transition \\d`, 'm'));
    assert.match(text.out, new RegExp(`^installed, not in force: ${next.name} 2\\.1 \\(load-refused\\)$`, 'm'));
  });

  test(`${name}: measures the stack`, async (t) => {
    const host = new TestHost(t, shell);
    const none = LivepatchMeasure.parse(JSON.parse((await host.run('measure', '--json')).out));
    assert.deepEqual([none.depth, none.memoryBytes, none.livepatches], [0, 0, []]);
    const stack = host.installStack(3);
    assert.equal((await host.run('sync')).code, 0);
    host.write(`/sys/module/${stack[0]?.module}/initsize`, '4096\n');
    // A package that is gone counts as long as its livepatch is there.
    host.remove(stack[1]?.directory ?? '');
    const ran = await host.run('measure', '--json');
    const measured = LivepatchMeasure.parse(JSON.parse(ran.out));
    assert.deepEqual([measured.depth, measured.functions, measured.functionsCoveredSeveralTimes], [3, 4, 1]);
    assert.equal(measured.memoryBytes, 3 * 40960 + 4096);
    assert.deepEqual(
      measured.livepatches.map((it) => it.module),
      stack.map((it) => it.module),
    );
    assert.ok(measured.livepatches.every((it) => (it.transitionSeconds ?? 0) > 0));
    assert.match((await host.run('measure')).out, /^covered several times 1$/m);
  });

  test(`${name}: only warns of a deep stack`, async (t) => {
    const host = new TestHost(t, shell);
    host.installStack(3);
    assert.equal((await host.run('sync')).code, 0);
    const warnings = async (): Promise<readonly { code: string; text: string }[]> =>
      LivepatchStatus.parse(JSON.parse((await host.run('status', '--json')).out)).warnings;
    for (const limit of ['', 'depth 3\n', 'depth 0\n']) {
      host.write('/etc/kmend-livepatch/config', limit);
      assert.deepEqual(await warnings(), [], limit);
    }
    host.write('/etc/kmend-livepatch/config', 'depth 2\n');
    assert.deepEqual(
      (await warnings()).map((it) => it.code),
      ['stack-deep'],
    );
    const status = await host.run('status');
    assert.equal(status.code, 0);
    assert.match(
      status.out,
      /^warning stack-deep: 3 livepatches are stacked, more than 2: .*\n {2}install the cumulative/m,
    );
  });
}
