import {
  frameOf,
  headingOf,
  isDump,
  isEnd,
  isForeword,
  type KernelSymbol,
  logLineOf,
  pointerOf,
  symbolOfHeading,
} from './headings.ts';
import {
  type ComplaintKind,
  cutHeading,
  cutTitle,
  type Heading,
  kindsOfTheInterrupted,
  logLimits,
  logPatterns,
} from './kernel-log.ts';
import { functionKey, type PatchedObject } from './names.ts';
import { patternOf } from './pattern.ts';

/** Something that the kernel complained of in its log. */
export interface Complaint {
  readonly kind: ComplaintKind;
  /** Seconds since boot, as the log counts them. */
  readonly at: number;
  /** What it is of, in the kernel's words. */
  readonly title: string;
  /** The livepatch's function on the stack, or else the one it happened in; `null` where the log does not say. */
  readonly function: string | null;
  /** It happened in the livepatch, with the livepatch on the stack, or in a function that it patches. */
  readonly isOurs: boolean;
  /** From its first line on, without time stamps, bounded. */
  readonly lines: readonly string[];
}

export interface Complaints {
  /** In the order of the log: the first of those that are the livepatch's, and the first of the others. */
  readonly complaints: readonly Complaint[];
  /** How many more there were. */
  readonly dropped: number;
}

/** What complaints are looked for about. */
export interface Suspect {
  /** Name of the livepatch's module. */
  readonly module: string;
  readonly objects: readonly PatchedObject[];
}

/** Complaints that are the livepatch's, and others, are counted beyond so many. */
const MAX_OF_EACH = 10;

/**
 * Complaints in a kernel log (lines as dmesg prints them: `[ 12.345678] text`, with or without level and caller) that
 * began later than `since` seconds after boot. Linear in the log's length; bounded output. Only lines with a time stamp
 * of their own count: a line break inside a message may hold what a user chose. Reports that CPUs print at the same
 * time are separated where the kernel prints the caller (CONFIG_PRINTK_CALLER); elsewhere the later one gets the lines
 * of both.
 */
export function complaintsOf(log: string, since: number, suspect: Suspect): Complaints {
  const reader = new LogReader(since, suspect);
  for (let start = 0; start < log.length; ) {
    const found = log.indexOf('\n', start);
    const end = found === -1 ? log.length : found;
    reader.line(log.slice(start, Math.min(end, start + logLimits.line)));
    start = end + 1;
  }
  return reader.finish();
}

/** A report that is being read. */
interface Report {
  heading: Heading;
  readonly at: number;
  title: string;
  /** The title came from a message, which a heading does not replace. */
  hasMessage: boolean;
  /** What the instruction pointer or the heading names, and the first on the stack that is the livepatch's. */
  function: string | null;
  ownFunction: string | null;
  readonly lines: string[];
  /** Time of the last line that looks like part of a report. */
  seen: number;
  /** Ends that are still to come: its own, and those of reports that it came in between of. */
  ends: number;
  hasDied: boolean;
  /** Behind an interrupt: what stands there was merely interrupted. */
  isInterrupted: boolean;
  /** On the stack by a guess of the unwinder, which counts where it vouches for nothing. */
  guess: string | null;
  hasFrames: boolean;
}

const INTERRUPT = patternOf(logPatterns.interrupt);

class LogReader {
  readonly #since: number;
  readonly #module: string;
  readonly #patched: ReadonlySet<string>;
  /** By caller; `''` where the log has none. */
  readonly #open = new Map<string, Report>();
  readonly #forewords = new Map<string, { readonly at: number; readonly text: string }>();
  readonly #ours: Complaint[] = [];
  readonly #others: Complaint[] = [];
  #dropped = 0;
  #stamped = 0;
  #isOverwritten = false;
  #sawHeading = false;

  constructor(since: number, suspect: Suspect) {
    this.#since = since;
    this.#module = suspect.module;
    this.#patched = new Set(suspect.objects.flatMap((it) => it.functions.map((fn) => functionKey(it.name, fn.name))));
  }

  line(raw: string): void {
    const line = logLineOf(raw);
    if (line === undefined) {
      // Part of a message: kept for people, not evaluated.
      for (const report of this.#open.values()) keep(report, raw);
      return;
    }
    const { at, caller, text } = line;
    this.#stamped += 1;
    if (this.#stamped === 1) this.#isOverwritten = at > this.#since;
    const heading = headingOf(text);
    if (heading !== undefined) this.#begin(heading, at, caller, text);
    else this.#goOn(at, caller, text);
  }

  finish(): Complaints {
    for (const caller of [...this.#open.keys()]) this.#close(caller);
    const complaints = [...this.#ours, ...this.#others].sort((a, b) => a.at - b.at);
    return { complaints, dropped: this.#dropped };
  }

  #begin(heading: Heading, at: number, caller: string, text: string): void {
    this.#sawHeading = true;
    const open = this.#current(caller, at);
    if (open !== undefined && continues(open, heading)) {
      this.#continue(open, heading, at, text);
      return;
    }
    const nested = open !== undefined && open.heading.until === 'end-trace' && heading.until === 'end-trace';
    const ends = nested ? open.ends + 1 : 1;
    this.#close(caller);
    const foreword = this.#foreword(caller, at);
    const report = newReport(heading, at, foreword ?? text, ends);
    report.hasMessage = foreword !== undefined;
    if (foreword !== undefined) keep(report, foreword);
    this.#put(caller, report);
    this.#continue(report, heading, at, text);
  }

  /** What was said just before a report began. */
  #foreword(caller: string, at: number): string | undefined {
    const said = this.#forewords.get(caller);
    this.#forewords.delete(caller);
    return said !== undefined && at - said.at <= logLimits.foreword ? said.text : undefined;
  }

  /** A line that says more of a report: what it is after `cut here`, or how it died after the reason. */
  #continue(report: Report, heading: Heading, at: number, text: string): void {
    if (report.heading.isPending === true) {
      report.heading = heading;
      if (!report.hasMessage) report.title = text.slice(0, logLimits.text);
    }
    if (heading.isDeath === true) report.hasDied = true;
    report.seen = at;
    keep(report, text);
    this.#blame(report, symbolOfHeading(text));
  }

  #goOn(at: number, caller: string, text: string): void {
    if (isForeword(text)) this.#forewords.set(caller, { at, text: text.slice(0, logLimits.text) });
    if (this.#forewords.size > logLimits.open) this.#forewords.clear();
    const report = this.#current(caller, at) ?? this.#beginning(at, caller, text);
    if (report === undefined) return;
    keep(report, text);
    if (isDump(text)) report.seen = at;
    else if (report.heading.isPending === true && !report.hasMessage && text !== '') {
      report.title = text.slice(0, logLimits.text);
      report.hasMessage = true;
    }
    this.#look(report, text);
    if (this.#ends(report, text)) this.#close(caller);
  }

  /** A report whose heading was overwritten in the log. */
  #beginning(at: number, caller: string, text: string): Report | undefined {
    if (this.#sawHeading || !this.#isOverwritten || this.#stamped > logLimits.cut) return undefined;
    if (pointerOf(text) === undefined) return undefined;
    this.#sawHeading = true;
    const report = newReport(cutHeading, at, cutTitle, 1);
    this.#put(caller, report);
    return report;
  }

  /** Whose the code is that a line speaks of. */
  #look(report: Report, text: string): void {
    if (text === 'Call Trace:') report.isInterrupted = false;
    if (report.isInterrupted && !kindsOfTheInterrupted.includes(report.heading.kind)) return;
    this.#blame(report, pointerOf(text));
    const frame = frameOf(text);
    if (frame === undefined) return;
    if (frame.isGuess) {
      if (this.#isOurs(frame)) report.guess ??= frame.name;
      return;
    }
    report.hasFrames = true;
    if (this.#isOurs(frame)) report.ownFunction ??= frame.name;
    if (INTERRUPT.test(frame.name)) report.isInterrupted = true;
  }

  /** It happened in this function: of the livepatch, or one that it patches. */
  #blame(report: Report, symbol: KernelSymbol | undefined): void {
    if (symbol === undefined) return;
    report.function ??= symbol.name;
    const isPatched = this.#patched.has(functionKey(symbol.object, symbol.name));
    if (isPatched || this.#isOurs(symbol)) report.ownFunction ??= symbol.name;
  }

  #isOurs(symbol: KernelSymbol): boolean {
    return symbol.object === this.#module;
  }

  #ends(report: Report, text: string): boolean {
    if (!isEnd(report.heading.until, text)) return false;
    if (report.heading.until === 'end-trace') report.ends -= 1;
    return report.heading.until !== 'end-trace' || report.ends === 0;
  }

  #current(caller: string, at: number): Report | undefined {
    const open = this.#open.get(caller);
    if (open === undefined || at - open.seen <= logLimits.silence) return open;
    this.#close(caller);
    return undefined;
  }

  #put(caller: string, report: Report): void {
    this.#open.set(caller, report);
    if (this.#open.size <= logLimits.open) return;
    const [oldest] = this.#open.keys();
    if (oldest !== undefined) this.#close(oldest);
  }

  #close(caller: string): void {
    const report = this.#open.get(caller);
    this.#open.delete(caller);
    if (report === undefined || report.at <= this.#since) return;
    const own = report.ownFunction ?? (report.hasFrames ? null : report.guess);
    const isOurs = own !== null;
    const list = isOurs ? this.#ours : this.#others;
    if (list.length === MAX_OF_EACH) {
      this.#dropped += 1;
      return;
    }
    const { at, title, lines } = report;
    list.push({ kind: report.heading.kind, at, title, function: own ?? report.function, isOurs, lines });
  }
}

function newReport(heading: Heading, at: number, title: string, ends: number): Report {
  return {
    heading,
    at,
    title: title.slice(0, logLimits.text),
    hasMessage: false,
    function: null,
    lines: [],
    seen: at,
    ends,
    hasDied: false,
    isInterrupted: false,
    ownFunction: null,
    guess: null,
    hasFrames: false,
  };
}

/**
 * Whether a heading belongs to the report before it: `cut here`, then `kernel BUG at`, then `invalid opcode: 0000
 * [#1]`.
 */
function continues({ heading: open, hasDied }: Report, heading: Heading): boolean {
  if (heading.isPending === true) return false;
  if (open.isPending === true) return heading.kind === 'warning' || heading.kind === 'bug';
  return heading.isDeath === true && !hasDied && (open.kind === 'oops' || open.kind === 'bug');
}

function keep(report: Report, text: string): void {
  if (report.lines.length < logLimits.lines) report.lines.push(text.slice(0, logLimits.text));
}
