import { type Heading, headingPrefix, headings, logPatterns, type ReportEnd, reportEnds } from './kernel-log.ts';
import { patternOf } from './pattern.ts';

const PREFIX = patternOf(headingPrefix);
const HEADINGS = headings.map((rule) => [patternOf(rule.pattern), rule] as const);
const FOREWORD = patternOf(logPatterns.foreword);
const DUMP = patternOf(logPatterns.dump);
const FRAME = patternOf(logPatterns.frame);
const POINTER = patternOf(logPatterns.pointer);
const HEADING_SYMBOL = patternOf(logPatterns.headingSymbol);
const LEVEL = patternOf(logPatterns.level);
const STAMP = patternOf(logPatterns.stamp);
const CALLER = patternOf(logPatterns.caller);
const ENDS = {
  'end-trace': patternOf(reportEnds['end-trace']),
  stack: patternOf(reportEnds.stack),
  ruler: patternOf(reportEnds.ruler),
} as const;

export interface LogLine {
  /** Seconds since boot, as the log counts them. */
  readonly at: number;
  /** `T313`, `C1`; `''` where the log does not say. */
  readonly caller: string;
  readonly text: string;
}

/** A line of the kernel log as dmesg prints it; `undefined` where it has no time stamp of its own. */
export function logLineOf(raw: string): LogLine | undefined {
  if (!raw.includes('[')) return undefined;
  const line = raw.replace(LEVEL, '');
  const [stamp, at] = STAMP.exec(line) ?? [];
  if (stamp === undefined) return undefined;
  const rest = line.slice(stamp.length);
  const [column = '', caller = ''] = CALLER.exec(rest) ?? [];
  return { at: Number(at), caller, text: rest.slice(column.length).replace(/^ /, '') };
}

/** The heading that a line of the kernel log is, without its time stamp; `undefined` for any other line. */
export function headingOf(text: string): Heading | undefined {
  const bare = text.replace(PREFIX, '');
  return HEADINGS.find(([pattern]) => pattern.test(bare))?.[1];
}

/** Lines that come just before a report and say what it is of. */
export function isForeword(text: string): boolean {
  return FOREWORD.test(text);
}

/** Lines that belong to a report: registers, stacks, and what stands about them. */
export function isDump(text: string): boolean {
  return DUMP.test(text);
}

/** Whether a line is the last one of a report that ends so. */
export function isEnd(until: ReportEnd, text: string): boolean {
  return until !== 'silence' && ENDS[until].test(text);
}

export interface KernelSymbol {
  readonly name: string;
  /** `vmlinux` or a module. */
  readonly object: string;
}

/** A line of a call trace; `isGuess` where the unwinder does not vouch for it (`? name`). */
export function frameOf(text: string): (KernelSymbol & { readonly isGuess: boolean }) | undefined {
  const [, guess, name, module] = FRAME.exec(text) ?? [];
  return name === undefined ? undefined : { name, object: module ?? 'vmlinux', isGuess: guess !== undefined };
}

/**
 * The function that the instruction pointer is in; `undefined` for user space and for addresses that no function is at.
 */
export function pointerOf(text: string): KernelSymbol | undefined {
  const [, name, module] = POINTER.exec(text) ?? [];
  return name === undefined ? undefined : { name, object: module ?? 'vmlinux' };
}

/** The function that a heading names. */
export function symbolOfHeading(text: string): KernelSymbol | undefined {
  const [, name, module] = HEADING_SYMBOL.exec(text) ?? [];
  return name === undefined ? undefined : { name, object: module ?? 'vmlinux' };
}
