import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestKernel } from '../testing/kernel.ts';
import { assertNoRival, findRivals } from './rivals.ts';

const RELEASE = '6.1.0-47-amd64';
const KEY = 'accesskey = dfc21b3ce354c84bc0ae5803e0123456\n';
const CRON = {
  '/etc/cron.d/kcare-cron': '13 */4 * * * root /usr/bin/kcarectl --auto-update --gradual-rollout=auto\n',
  '/etc/cron.d/uptrack': '29 */4 * * * root /usr/sbin/uptrack-upgrade --cron\n',
};
const unit = (name: string) => ({ [`/run/systemd/units/invocation:${name}`]: '' });
const wanted = (name: string) => ({ [`/etc/systemd/system/multi-user.target.wants/${name}`]: '' });
const CANONICAL = unit('snap.canonical-livepatch.canonical-livepatchd.service');
const TOKEN = { '/var/snap/canonical-livepatch/common/machine-token': 'x' };

type Files = Readonly<Record<string, string>>;

async function host(context: { after(f: () => unknown): void }, files: Files) {
  const kernel = await TestKernel.make();
  context.after(() => kernel.remove());
  for (const [path, content] of Object.entries(files)) await kernel.write(path, content);
  return kernel.edges();
}

const active: readonly [string, string, Files][] = [
  ['KernelCare (TuxCare)', 'its cron entry', { '/etc/cron.d/kcare-cron': CRON['/etc/cron.d/kcare-cron'] }],
  [
    'KernelCare (TuxCare)',
    'its cron entry and AUTO_UPDATE',
    { ...CRON, '/etc/sysconfig/kcare/kcare.conf': 'PREFIX=\nAUTO_UPDATE=YES\n' },
  ],
  [
    'KernelCare (TuxCare)',
    'its service',
    { '/etc/sysconfig/kcare/kcare.conf': 'AUTO_UPDATE=NO\n', ...unit('kcare.service') },
  ],
  ['KernelCare (TuxCare)', 'its service at the next boot', wanted('kcare.service')],
  ['Canonical Livepatch', 'daemon and token', { ...CANONICAL, ...TOKEN }],
  [
    'Ksplice Uptrack',
    'autoinstall',
    {
      ...CRON,
      '/etc/cron.d/kcare-cron': '',
      '/etc/uptrack/uptrack.conf': `[Auth]\n${KEY}[Settings]\nautoinstall = yes\n`,
    },
  ],
  ['Ksplice Uptrack', 'an upgrade at boot', { '/etc/uptrack/uptrack.conf': `${KEY}upgrade_on_reboot: Yes\n` }],
  ['kpatch', 'module and unit', { ...unit('kpatch.service'), [`/var/lib/kpatch/${RELEASE}/kpatch-1-1.ko`]: '' }],
  ['kpatch', 'module and the next boot', { ...wanted('kpatch.service'), [`/usr/lib/kpatch/${RELEASE}/fix.ko`]: '' }],
];
for (const [system, what, files] of active) {
  test(`${system} refuses a load: ${what}`, async (context) => {
    const edges = await host(context, files);
    await assert.rejects(assertNoRival(edges), (error: { code?: string; message: string; hint?: string }) => {
      assert.equal(error.code, 'conflict-agent');
      assert.ok(error.message.startsWith(`${system} is active on this host: `), error.message);
      assert.match(error.hint ?? '', /use one live patch system a host: .+; then check again/);
      return true;
    });
  });
}

const idle: readonly [string, string, Files][] = [
  [
    'KernelCare (TuxCare)',
    'told not to update',
    { ...CRON, '/etc/cron.d/uptrack': '', '/etc/sysconfig/kcare/kcare.conf': '  AUTO_UPDATE = "no"\n' },
  ],
  [
    'KernelCare (TuxCare)',
    'its cron entry commented out',
    { '/etc/cron.d/kcare-cron': '# 1 * * * * root kcarectl --auto-update\n' },
  ],
  ['Canonical Livepatch', 'not enabled', CANONICAL],
  ['Canonical Livepatch', 'not running', TOKEN],
  [
    'Ksplice Uptrack',
    'without a key',
    {
      '/etc/cron.d/uptrack': CRON['/etc/cron.d/uptrack'],
      '/etc/uptrack/uptrack.conf': 'accesskey = INSERT_ACCESS_KEY\nautoinstall = yes\n',
    },
  ],
  [
    'Ksplice Uptrack',
    'by hand only',
    {
      '/etc/cron.d/uptrack': CRON['/etc/cron.d/uptrack'],
      '/etc/uptrack/uptrack.conf': `${KEY}autoinstall = no\ninstall_on_reboot = yes\n`,
    },
  ],
  [
    'Ksplice Uptrack',
    'disabled at boot',
    { '/etc/uptrack/disable': '', '/etc/uptrack/uptrack.conf': `${KEY}upgrade_on_reboot = yes\n` },
  ],
  ['kpatch', 'for another kernel', { ...unit('kpatch.service'), '/var/lib/kpatch/6.1.0-48-amd64/fix.ko': '' }],
  ['kpatch', 'service disabled', { [`/var/lib/kpatch/${RELEASE}/fix.ko`]: '' }],
  [
    'kpatch',
    'nothing but its core module',
    { ...unit('kpatch.service'), [`/usr/lib/kpatch/${RELEASE}/kpatch.ko`]: '' },
  ],
  ['SUSE live patching', 'a module of a package', { [`/lib/modules/${RELEASE}/livepatch/livepatch-12_4.ko.zst`]: '' }],
];
for (const [system, what, files] of idle) {
  test(`only notes ${system}: ${what}`, async (context) => {
    const edges = await host(context, files);
    await assertNoRival(edges);
    assert.deepEqual(
      (await findRivals(edges)).map((it) => [it.system, it.active]),
      [[system, false]],
    );
  });
}

test('finds none on an ordinary host, and ignores units of other names', async (context) => {
  const edges = await host(context, { ...unit('ssh.service'), '/run/systemd/units/log-level-max:kpatch.service': '' });
  assert.deepEqual(await findRivals(edges), []);
  await assertNoRival(edges);
});

test('names the active system, whatever else is installed', async (context) => {
  const edges = await host(context, {
    ...CANONICAL,
    '/etc/sysconfig/kcare/kcare.conf': '',
    ...unit('kpatch.service'),
    [`/var/lib/kpatch/${RELEASE}/fix.ko`]: '',
  });
  assert.deepEqual(
    (await findRivals(edges)).map((it) => it.system),
    ['kpatch', 'KernelCare (TuxCare)', 'Canonical Livepatch'],
  );
  await assert.rejects(assertNoRival(edges), /^KmendError: kpatch is active/);
});
