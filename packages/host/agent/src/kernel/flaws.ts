import type { FixSummary, HostFacts } from '@kmend/protocol';

/** What the kernel says of a flaw, by the first of its words. */
export type FlawState = 'not-affected' | 'mitigated' | 'vulnerable' | 'unknown';

/**
 * What stands between the flaw and this host, as far as it can be known.
 * - `not-needed`: the processor does not have the flaw
 * - `kernel`: the running kernel mitigates it by itself
 * - `kernel-and-livepatch`: it does, and the livepatch in force has a fix for this flaw too
 * - `livepatch`: the kernel says vulnerable (or does not know), and the livepatch in force has a fix for this flaw
 * - `microcode`, `hypervisor`: nothing yet; what is missing comes from there
 * - `reboot`: nothing yet, and only a boot can change it: mitigations are chosen then
 */
export type Mitigation =
  | 'not-needed'
  | 'kernel'
  | 'kernel-and-livepatch'
  | 'livepatch'
  | 'microcode'
  | 'hypervisor'
  | 'reboot';

export interface FlawSummary {
  /** Name in `/sys/devices/system/cpu/vulnerabilities`. */
  readonly name: string;
  readonly state: FlawState;
  /** The kernel's own words. Written at boot: no livepatch changes them. */
  readonly words: string;
  /** Parts of the words that say vulnerable, unknown or no microcode though the flaw is mitigated: `SMT vulnerable`. */
  readonly unsettled: readonly string[];
  readonly mitigation: Mitigation;
  /** Fixes of the livepatch in force for this flaw. */
  readonly fixes: readonly string[];
}

export interface HardwareSummary {
  readonly flaws: readonly FlawSummary[];
  /** Fixes for hardware flaws that belong to none of the kernel's names. */
  readonly otherFixes: readonly string[];
}

/**
 * Which fixes are for which flaw: by CVE (Documentation/admin-guide/hw-vuln, Debian's changelogs), else by the words
 * that titles of the kernel's own changes use.
 */
const known: Readonly<Record<string, { cves: readonly string[]; title: RegExp }>> = {
  gather_data_sampling: { cves: ['CVE-2022-40982'], title: /gather data sampling|\bGDS\b/ },
  indirect_target_selection: { cves: ['CVE-2024-28956'], title: /indirect target selection|\bITS\b|\/its\b/ },
  itlb_multihit: { cves: ['CVE-2018-12207'], title: /multihit/i },
  l1tf: { cves: ['CVE-2018-3615', 'CVE-2018-3620', 'CVE-2018-3646'], title: /\bl1tf\b|l1 terminal fault/i },
  mds: {
    cves: ['CVE-2018-12126', 'CVE-2018-12127', 'CVE-2018-12130', 'CVE-2019-11091'],
    title: /\bMDS\b|microarchitectural data sampling/,
  },
  meltdown: { cves: ['CVE-2017-5754'], title: /meltdown|page table isolation|\bPTI\b/i },
  mmio_stale_data: { cves: ['CVE-2022-21123', 'CVE-2022-21125', 'CVE-2022-21166'], title: /mmio stale data/i },
  reg_file_data_sampling: { cves: ['CVE-2023-28746'], title: /register file data sampling|\bRFDS\b/ },
  retbleed: { cves: ['CVE-2022-29900', 'CVE-2022-29901'], title: /retbleed/i },
  spec_rstack_overflow: {
    cves: ['CVE-2023-20569'],
    title: /\bSRSO\b|\/srso\b|speculative (return stack|RAS) overflow/i,
  },
  spec_store_bypass: { cves: ['CVE-2018-3639'], title: /speculative store bypass|\bSSBD?\b/i },
  spectre_v1: { cves: ['CVE-2017-5753', 'CVE-2019-1125'], title: /spectre[ _-]?v?1\b|swapgs/i },
  spectre_v2: {
    cves: ['CVE-2017-5715', 'CVE-2022-0001', 'CVE-2022-0002', 'CVE-2024-2201'],
    title: /spectre[ _-]?v?2\b|\bBHI\b|branch history/i,
  },
  srbds: { cves: ['CVE-2020-0543'], title: /\bSRBDS\b|special register buffer/i },
  tsa: { cves: ['CVE-2024-36350', 'CVE-2024-36357'], title: /transi(ent|tive) scheduler|\bTSA\b/ },
  tsx_async_abort: { cves: ['CVE-2019-11135'], title: /tsx async(hronous)? abort|\bTAA\b/i },
  vmscape: { cves: ['CVE-2025-40300'], title: /vmscape/i },
};

/**
 * What protects this host from each hardware flaw. `fixes`: those of the livepatch that is in force for every task;
 * none while one is in transition. Only fixes that their author tagged count. Pure.
 */
export function hardwareSummary(
  flaws: HostFacts['hardwareFlaws'],
  fixes: readonly Pick<FixSummary, 'id' | 'title' | 'hardware'>[],
): HardwareSummary {
  const tagged = fixes.filter((it) => it.hardware);
  const placed = new Set<string>();
  const summaries = flaws.map(({ name, state: words }) => {
    const mine = tagged.filter((fix) => isFor(fix, name)).map((fix) => fix.id);
    for (const id of mine) placed.add(id);
    return summaryOf(name, words, mine);
  });
  return { flaws: summaries, otherFixes: tagged.map((it) => it.id).filter((id) => !placed.has(id)) };
}

function isFor(fix: Pick<FixSummary, 'id' | 'title'>, name: string): boolean {
  const flaw = Object.hasOwn(known, name) ? known[name] : undefined;
  if (flaw?.cves.includes(fix.id) === true) return true;
  // A fix with another flaw's CVE is that flaw's, whatever its title speaks of.
  if (Object.values(known).some((it) => it.cves.includes(fix.id))) return false;
  return flaw?.title.test(fix.title) ?? false;
}

function summaryOf(name: string, words: string, fixes: readonly string[]): FlawSummary {
  const state = flawState(words);
  const unsettled =
    state === 'mitigated' ? partsOf(words).filter((it) => /\b(vulnerable|unknown|no microcode)\b/i.test(it)) : [];
  return { name, state, words, unsettled, mitigation: mitigationOf(state, words, fixes.length > 0), fixes };
}

/**
 * The forms of arch/x86/kernel/cpu/bugs.c: `Not affected`, `Mitigation: …`, `Vulnerable…`, `Unknown…`, the first two of
 * them also behind `KVM: ` (itlb_multihit), `Processor vulnerable` (the same without KVM), and `Mitigation: Vulnerable,
 * KVM: Not affected` (indirect_target_selection=vmexit).
 */
export function flawState(words: string): FlawState {
  const text = words.trim().replace(/^KVM: /, '');
  if (/^Not affected\b/.test(text)) return 'not-affected';
  if (/^(Mitigation: )?Vulnerable\b/.test(text) || text === 'Processor vulnerable') return 'vulnerable';
  return /^Mitigation: \S/.test(text) ? 'mitigated' : 'unknown';
}

/** `Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable` in its parts. */
function partsOf(words: string): readonly string[] {
  return words.split(/[;,]/, 32).map((it) => it.trim());
}

function mitigationOf(state: FlawState, words: string, isPatched: boolean): Mitigation {
  if (state === 'not-affected') return 'not-needed';
  if (state === 'mitigated') return isPatched ? 'kernel-and-livepatch' : 'kernel';
  if (isPatched) return 'livepatch';
  if (/hypervisor/i.test(words)) return 'hypervisor';
  return /no microcode/i.test(words) ? 'microcode' : 'reboot';
}
