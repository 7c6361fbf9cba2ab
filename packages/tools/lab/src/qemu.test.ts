import assert from 'node:assert/strict';
import { test } from 'node:test';
import { insmodPaths } from './boot-files.ts';
import { type MachineSpec, machineArguments } from './qemu.ts';
import { parseRegisters, parseUsernet } from './qmp.ts';
import { someMachine } from './testing/machine.ts';

const spec: MachineSpec = {
  ...someMachine,
  disk: '/cache/a,b/web-1.qcow2',
  kernelArguments: ['module.sig_enforce=1'],
  forwards: [{ guestPort: 22, hostPort: 0 }],
};

test('binds forwarded ports to the loopback only', () => {
  const network = machineArguments(spec).find((argument) => argument.startsWith('user,'));
  assert.equal(network, 'user,id=network,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:0-:22');
});

test('lets a guest reach this machine and its network only on request', () => {
  const network = (reachesOperator: boolean): string | undefined =>
    machineArguments({ ...spec, reachesOperator }).find((argument) => argument.startsWith('user,'));
  assert.match(network(false) ?? '', /,restrict=on,/);
  assert.doesNotMatch(network(true) ?? '', /restrict/);
});

test('does not read a comma in a path as an option', () => {
  assert.ok(machineArguments(spec).some((argument) => argument.includes('file=/cache/a,,b/web-1.qcow2,format=qcow2')));
});

test('makes the watchdogs patient only in an emulated host', () => {
  const append = (accelerator: MachineSpec['accelerator']): string => {
    const list = machineArguments({ ...spec, accelerator });
    return list[list.indexOf('-append') + 1] ?? '';
  };
  assert.match(append('tcg'), /watchdog_thresh=60.* module\.sig_enforce=1$/);
  assert.doesNotMatch(append('kvm'), /watchdog_thresh/);
});

test('reads the ports that QEMU chose from its table', () => {
  const table = [
    'Hub -1 (network):',
    '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
    '  TCP[HOST_FORWARD]  26       127.0.0.1 34567       10.0.2.15    22     0     0',
    '  TCP[ESTABLISHED]   27       10.0.2.15 51234       127.0.0.1  8080     0     0',
    '  TCP[HOST_FORWARD]  28       127.0.0.1 40001       10.0.2.15  8080     0     0',
  ].join('\r\n');
  assert.deepEqual(
    [...parseUsernet(table)],
    [
      [22, 34567],
      [8080, 40001],
    ],
  );
});

test('reads instruction pointers from what QEMU prints of each processor', () => {
  const text = [
    '',
    'CPU#0',
    'RAX=0000000000000041 RBX=ffff888079331ac0 RCX=0000000000000000 RDX=000000000006f261',
    'R12=ffff88800e9c0000 R13=ffff88800e870000 R14=ffffffff82413b90 R15=ffff88800e870ac8',
    'RIP=ffffffff8116fb71 RFL=00000202 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0',
    '',
    'CPU#1',
    'RIP=ffffffff81a4713c RFL=00000082 [--S----] CPL=0 II=0 A20=1 SMM=0 HLT=0',
  ].join('\r\n');
  assert.deepEqual(parseRegisters(text), [0xffff_ffff_8116_fb71n, 0xffff_ffff_81a4_713cn]);
});

test('takes modules in load order without built-in ones', () => {
  const text = 'builtin virtio\ninsmod /m/kernel/fs/jbd2/jbd2.ko \ninsmod /m/kernel/fs/ext4/ext4.ko.xz \n';
  assert.deepEqual(insmodPaths(text), ['/m/kernel/fs/jbd2/jbd2.ko', '/m/kernel/fs/ext4/ext4.ko.xz']);
});

test('boots a host with another time of day', () => {
  const list = machineArguments({ ...spec, clock: new Date('2036-11-24T12:00:00.5Z') });
  assert.equal(list[list.indexOf('-rtc') + 1], 'base=2036-11-24T12:00:00');
  assert.ok(!machineArguments(spec).includes('-rtc'));
});
