import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnose } from '../cli/doctor.ts';
import { statusText } from '../cli/text.ts';
import { paths } from '../edges/paths.ts';
import { check, makeHost, never } from '../testing/host.ts';
import { TestPackages } from '../testing/packages.ts';
import { readStatus } from './document.ts';

const IDENTITY = {
  schema: 'kmend.agent-identity/1',
  hostId: '2d0a0f5e-8c1d-4a53-9a43-1a9fd7b2c5aa',
  token: 'a-token-of-this-host',
  channel: 'stable',
};

test('shows driver, depth and fixes of a host that packages drive, without an alarm', async (t) => {
  const host = await makeHost(t);
  await host.kernel.write(paths.identity, JSON.stringify(IDENTITY));
  await host.kernel.write(paths.config, JSON.stringify({ server: 'http://127.0.0.1:1' }));
  const packages = await TestPackages.make(host.kernel);
  const module = await packages.install(1, ['CVE-2026-1', 'CVE-2026-2']);
  host.repository.choose(5);
  await check(host.loader, never);
  const edges = host.kernel.edges();
  const document = await readStatus(edges);
  assert.deepEqual([document.stack?.strategy, document.stack?.depth, document.exitCode], ['temporary', 1, 0]);
  const text = statusText(document);
  assert.match(text, /^driven by +temporary: the packages drive this host; 1 livepatches of packages, 1 functions/m);
  assert.match(text, new RegExp(`^stack +${module} in force \\(livepatch-1\\): CVE-2026-1, CVE-2026-2$`, 'm'));
  assert.match(text, /^packages +everything installed is in force \[in-force\]$/m);
  const { findings, exitCode } = await diagnose(edges);
  assert.deepEqual([findings[0]?.level, findings[0]?.code, exitCode], ['good', 'protected', 0]);
  assert.ok(findings.some((it) => it.level === 'note' && it.code === 'conflict-packages'));
  assert.ok(!findings.some(({ level }) => level === 'bad'));

  packages.trouble = { command: 'status', exitCode: 5, says: 'the state cannot be read (state-damaged)' };
  const unread = await readStatus(edges);
  assert.deepEqual([unread.stack, unread.stackProblem?.code], [null, 'packages-unreadable']);
  assert.ok((await diagnose(edges)).findings.some((it) => it.level === 'bad' && it.code === 'packages-unreadable'));
});
