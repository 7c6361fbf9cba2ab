import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FlawState, flawState, hardwareSummary, type Mitigation } from './flaws.ts';

/** Texts that arch/x86/kernel/cpu/bugs.c and drivers/base/cpu.c of 6.1 can print. */
const texts: readonly [string, string, FlawState, Mitigation, string[]][] = [
  ['mds', 'Not affected', 'not-affected', 'not-needed', []],
  ['mds', 'Mitigation: Clear CPU buffers; SMT vulnerable', 'mitigated', 'kernel', ['SMT vulnerable']],
  ['mds', 'Mitigation: Clear CPU buffers; SMT Host state unknown', 'mitigated', 'kernel', ['SMT Host state unknown']],
  [
    'mds',
    'Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown',
    'vulnerable',
    'microcode',
    [],
  ],
  [
    'l1tf',
    'Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable',
    'mitigated',
    'kernel',
    ['SMT vulnerable'],
  ],
  ['l1tf', 'Mitigation: PTE Inversion; VMX: vulnerable', 'mitigated', 'kernel', ['VMX: vulnerable']],
  ['l1tf', 'Mitigation: PTE Inversion', 'mitigated', 'kernel', []],
  ['itlb_multihit', 'KVM: Mitigation: VMX disabled', 'mitigated', 'kernel', []],
  ['itlb_multihit', 'KVM: Mitigation: Split huge pages', 'mitigated', 'kernel', []],
  ['itlb_multihit', 'KVM: Vulnerable', 'vulnerable', 'reboot', []],
  ['itlb_multihit', 'Processor vulnerable', 'vulnerable', 'reboot', []],
  ['indirect_target_selection', 'Mitigation: Vulnerable, KVM: Not affected', 'vulnerable', 'reboot', []],
  ['indirect_target_selection', 'Mitigation: Aligned branch/return thunks', 'mitigated', 'kernel', []],
  ['srbds', 'Unknown: Dependent on hypervisor status', 'unknown', 'hypervisor', []],
  ['srbds', 'Vulnerable: No microcode', 'vulnerable', 'microcode', []],
  ['meltdown', 'Unknown (XEN PV detected, hypervisor mitigation required)', 'unknown', 'hypervisor', []],
  ['meltdown', 'Vulnerable', 'vulnerable', 'reboot', []],
  ['mmio_stale_data', 'Unknown: No mitigations', 'unknown', 'reboot', []],
  ['gather_data_sampling', 'Mitigation: AVX disabled, no microcode', 'mitigated', 'kernel', ['no microcode']],
  ['spec_rstack_overflow', 'Mitigation: safe RET, no microcode', 'mitigated', 'kernel', ['no microcode']],
  ['spec_rstack_overflow', 'Vulnerable: Safe RET, no microcode', 'vulnerable', 'microcode', []],
  [
    'spectre_v1',
    'Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers',
    'vulnerable',
    'reboot',
    [],
  ],
  [
    'spectre_v2',
    'Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: SW sequence; BHI: Vulnerable, KVM: SW loop',
    'mitigated',
    'kernel',
    ['BHI: Vulnerable'],
  ],
  [
    'spectre_v2',
    'Mitigation: Retpolines; STIBP: disabled; PBRSB-eIBRS: Not affected; BHI: Not affected',
    'mitigated',
    'kernel',
    [],
  ],
  ['spectre_v2', 'Vulnerable: eIBRS with unprivileged eBPF', 'vulnerable', 'reboot', []],
  ['vmscape', 'Mitigation: IBPB before exit to userspace', 'mitigated', 'kernel', []],
  ['some_later_flaw', 'Partially mitigated', 'unknown', 'reboot', []],
  ['some_later_flaw', '', 'unknown', 'reboot', []],
];
for (const [name, words, state, mitigation, unsettled] of texts) {
  test(`reads “${words}” as ${state} (${name})`, () => {
    assert.equal(flawState(`${words}\n`), state);
    const { flaws, otherFixes } = hardwareSummary([{ name, state: words }], []);
    assert.deepEqual(flaws, [{ name, state, words, unsettled, mitigation, fixes: [] }]);
    assert.deepEqual(otherFixes, []);
  });
}

const fix = (id: string, title: string, hardware = true) => ({ id, title, hardware });
const mitigations = (
  words: string,
  ...fixes: ReturnType<typeof fix>[]
): [Mitigation | undefined, readonly string[] | undefined] => {
  const [flaw] = hardwareSummary([{ name: 'vmscape', state: words }], fixes).flaws;
  return [flaw?.mitigation, flaw?.fixes];
};

test('combines a fix in force with what the kernel does, and counts it alone where the kernel does nothing', () => {
  const vmscape = fix('CVE-2025-40300', 'x86/vmscape: Add conditional IBPB mitigation');
  assert.deepEqual(mitigations('Mitigation: IBPB on VMEXIT', vmscape), ['kernel-and-livepatch', ['CVE-2025-40300']]);
  assert.deepEqual(mitigations('Vulnerable', vmscape), ['livepatch', ['CVE-2025-40300']]);
  assert.deepEqual(mitigations('Not affected', vmscape), ['not-needed', ['CVE-2025-40300']]);
});

test('ignores a fix that is not tagged or is for another flaw', () => {
  assert.deepEqual(mitigations('Vulnerable', fix('CVE-2025-40300', 'x86/vmscape', false)), ['reboot', []]);
  assert.deepEqual(mitigations('Vulnerable', fix('CVE-2024-28956', 'x86/its: also for vmscape')), ['reboot', []]);
});

test('assigns fixes to flaws by CVE or title, and keeps the rest', () => {
  const fixes = [
    fix('CVE-2024-2201', 'x86/bhi: Add support for clearing branch history at syscall entry'),
    fix('its-thunks', 'x86/its: Add support for ITS-safe indirect thunk'),
    fix('srso-alias', 'x86/srso: Set CPUID feature bits independently of bug or mitigation status'),
    fix('CVE-2026-99999', 'x86/bugs: a flaw that this kernel has no name for'),
    fix('CVE-2026-1', 'net: takes its time', false),
  ];
  const names = ['indirect_target_selection', 'spec_rstack_overflow', 'spectre_v2', 'mds', 'constructor'];
  const { flaws, otherFixes } = hardwareSummary(
    names.map((name) => ({ name, state: 'Vulnerable' })),
    fixes,
  );
  assert.deepEqual(
    flaws.map((it) => it.fixes),
    [['its-thunks'], ['srso-alias'], ['CVE-2024-2201'], [], []],
  );
  assert.deepEqual(otherFixes, ['CVE-2026-99999']);
});
