import {
  type DemoFix,
  FIXES,
  FROM,
  KERNEL,
  MORE,
  SHARED_FLAWS,
  SUITE,
  TO,
  TRIXIE,
  type UpdateRange,
} from '@kmend/harness';

/** What the demo patches: a stock kernel of a suite, and fixes that Debian shipped after it. */
export interface Subject {
  readonly kernel: string;
  readonly range: UpdateRange;
  /** Of the first cumulative livepatch. */
  readonly fixes: readonly DemoFix[];
  /** The one that the second adds. */
  readonly more: DemoFix;
  /** Kernel objects that the first patches, by name. */
  readonly objects: readonly string[];
  /** Flaws that have a reproducer, and what it shows. */
  readonly flaws: readonly { readonly id: string; readonly shows: string }[];
  /** A function of the first livepatch in vmlinux: shown is whose code runs. */
  readonly shown: string;
  /** Why that is shown; `undefined`: because it can be. */
  readonly why: string | undefined;
}

const medium = { severity: 'medium', hardware: false } as const;
const [routing, aead, spectre] = FIXES;
const [clocks, search] = SHARED_FLAWS;

export const SUBJECTS: Readonly<Record<string, Subject>> = {
  bookworm: {
    kernel: KERNEL,
    range: { suite: SUITE, from: FROM, to: TO },
    fixes: FIXES,
    more: MORE,
    objects: ['af_alg', 'vmlinux'],
    flaws: [
      { id: routing.id, shows: 'unprivileged source routing' },
      { id: aead.id, shows: 'AEAD length, in a module' },
    ],
    // As compiled: the function with the Spectre fix is inlined into it.
    shown: 'io_submit_sqes',
    why: `${spectre.id} (Spectre v1) has no effect that can be seen from outside: shown is which code runs`,
  },
  trixie: {
    kernel: TRIXIE.kernel,
    range: TRIXIE,
    fixes: SHARED_FLAWS.map((flaw) => ({ ...flaw, ...medium })),
    more: { id: 'itimer-expiry', path: 'kernel/time/itimer.c', ...medium },
    objects: ['em_text', 'vmlinux'],
    flaws: [
      { id: clocks.id, shows: 'time namespaces take negative nanoseconds' },
      { id: search.id, shows: 'name without an end, in a module' },
    ],
    shown: 'proc_timens_set_offset',
    why: undefined,
  },
};
