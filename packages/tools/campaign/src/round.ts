import { errorText } from '@kmend/base';
import { alwaysHolds, type Finding, type Standing, standing, toldTooMuch } from './judge.ts';
import { journalOf, type Life } from './life.ts';
import type { Observation } from './observe.ts';

/** What one fault did to a host. */
export interface RoundResult {
  /** Names the fault; the same in every run of the campaign. */
  readonly id: string;
  /** The fault really struck: a step that never came is no fault. */
  readonly struck: boolean;
  readonly findings: readonly Finding[];
  readonly standing: Standing;
  readonly seconds: number;
  /** In the library's or the group's words. */
  readonly what: string;
}

export interface Round {
  readonly id: string;
  run(): Promise<RoundResult>;
}

/** What a group records of a round; the rest is the same for all. */
export interface Struck {
  readonly what: string;
  readonly struck: boolean;
  /** What was seen on the way: judged by what holds at every moment. */
  readonly seen: readonly Observation[];
  /** What was seen at last: judged by the host's right state too. */
  readonly last: Observation;
  /** More that a group found by its own measures. */
  readonly found?: readonly Finding[];
  /** Whether it may be left to a person, where the agent says so. */
  readonly mayNeedPerson: boolean;
}

/**
 * Runs one round, and judges it. An error of the campaign's own hands is thrown; one that says that the host is down is
 * a finding.
 */
export async function judged(life: Life, id: string, strike: () => Promise<Struck>): Promise<RoundResult> {
  const begin = performance.now();
  const done = (rest: Omit<RoundResult, 'id' | 'seconds'>): RoundResult => ({
    id,
    seconds: (performance.now() - begin) / 1000,
    ...rest,
  });
  try {
    const { what, struck, seen, last, found = [], mayNeedPerson } = await strike();
    const findings = [...seen, last].flatMap((it) => alwaysHolds(it, life.published));
    const told = await life.toldInTime(last);
    findings.push(...found, ...(told === undefined ? [] : toldTooMuch(told, last, life.published)));
    const end = standing(last, journalOf(last), life.wanted);
    if (end.kind === 'wrong') findings.push({ harm: 'not-right', text: end.text });
    if (end.kind === 'person' && !mayNeedPerson)
      findings.push({ harm: 'not-right', text: `this should not need a person: ${end.text}` });
    return done({ what, struck, findings, standing: end });
  } catch (error) {
    if (!isDown(error)) throw error;
    const text = errorText(error);
    return done({
      what: 'the host went away',
      struck: true,
      findings: [{ harm: 'down', text }],
      standing: { kind: 'wrong', text },
    });
  }
}

const DOWN = new Set([
  'lab-boot-timeout',
  'lab-guest-panic',
  'lab-guest-gone',
  'lab-command-timeout',
  'lab-command-failed',
]);

function isDown(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && DOWN.has(error.code);
}
