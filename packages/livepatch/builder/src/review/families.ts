import type { Call } from './calls.ts';
import {
  type Direction,
  LOCK_NOISE,
  LOCKS,
  MODIFIER,
  NO_LOCK,
  NO_REFERENCE,
  RCU,
  REFERENCES,
  type Settled,
} from './tables.ts';

/** What a call is about: who may run beside whom, how long readers may look, how long something lives. */
export type Family = 'lock' | 'rcu' | 'reference';

/** A call of one of the families. */
export interface ProtocolCall {
  readonly family: Family;
  /** `other`: neither takes nor gives back, such as `list_add_rcu`. */
  readonly direction: Direction;
  /**
   * The same for a call and its counterpart: `spin` of `spin_lock_irqsave` and `spin_unlock_bh`, `dev` of `dev_hold`
   * and `dev_put`.
   */
  readonly kind: string;
  /** The lock or object, as an expression without `&`; empty where the call names none (`rtnl_lock()`). */
  readonly object: string;
  readonly call: Call;
}

function lockOf(name: string, words: readonly string[]): Settled | undefined {
  for (const [pattern, direction] of LOCKS) {
    const match = pattern.exec(name);
    if (match !== null) return [match[1] ?? match[2] ?? 'semaphore', direction];
  }
  if (NO_LOCK.test(name)) return undefined;
  const isRelease = words.includes('unlock');
  if (!isRelease && !words.some((word) => word === 'lock' || word === 'trylock' || word === 'relock')) return undefined;
  return [words.filter((word) => !LOCK_NOISE.test(word)).join('_'), isRelease ? 'release' : 'acquire'];
}

/**
 * `calls` are the names of all calls of the file: many a `get_x` only reads something, and is a reference exactly where
 * something is put back.
 */
function referenceOf(call: Call, words: readonly string[], calls: ReadonlySet<string>): Settled | undefined {
  const { name } = call;
  const known = REFERENCES.get(name);
  if (known !== undefined) return known;
  const counter = /^(?:refcount|kref|percpu_ref|lockref)_(\w+)$/.exec(name)?.[1];
  if (counter !== undefined) {
    if (/^(?:init|read|set$|is|exit|kill|resurrect|reinit|switch)/.test(counter)) return undefined;
    return ['count', /dec|sub|put/.test(counter) ? 'release' : 'acquire'];
  }
  const atomic = /^atomic(?:64|_long)?_(inc|dec|add|sub)(?:_|$)/.exec(name)?.[1];
  if (atomic !== undefined) {
    const isCount = call.args.some((arg) => /(?:^|[^A-Za-z])(?:\w*(?:ref|users|usage|_count|refs))\b/.test(arg));
    return isCount ? ['count', atomic === 'dec' || atomic === 'sub' ? 'release' : 'acquire'] : undefined;
  }
  if (NO_REFERENCE.test(name)) return undefined;
  const verb = words.findIndex((word) => /^(?:get|tryget|hold|grab|put)$/.test(word));
  const word = words[verb];
  if (word === undefined) return undefined;
  const isLast = words.slice(verb + 1).every((after) => MODIFIER.test(after));
  const kind = words.filter((other, index) => index !== verb && !MODIFIER.test(other) && other !== 'try').join('_');
  if (word === 'put') return isLast || verb === 0 || call.isStatement ? [kind, 'release'] : undefined;
  if (word !== 'get') return isLast || call.isStatement ? [kind, 'acquire'] : undefined;
  const putWords = words.filter((other) => !MODIFIER.test(other)).map((other) => (other === 'get' ? 'put' : other));
  const counterparts = [putWords.join('_'), `put_${kind}`, `${kind}_put`, `__put_${kind}`, `${kind}_release`];
  const isTaken = call.isStatement || words.includes('unless') || counterparts.some((other) => calls.has(other));
  return isTaken ? [kind, 'acquire'] : undefined;
}

/** Which family a call belongs to, by the words of its name; `undefined` for most. */
export function protocolOf(call: Call, calls: ReadonlySet<string>): ProtocolCall | undefined {
  const guard = /^(\w+)\(([\w ]*)\)$/.exec(call.name);
  if (guard !== null) return guardOf(call, guard[1] ?? '', guard[2] ?? '');
  const { name } = call;
  const words = name
    .toLowerCase()
    .split('_')
    .filter((word) => word !== '');
  const make = (family: Family, [kind, direction]: Settled): ProtocolCall => {
    const isResult = direction === 'acquire' && family === 'reference' && call.result !== undefined;
    const object = (isResult ? call.result : call.args[0]) ?? '';
    return { family, direction, kind, object: object.replace(/^&/, ''), call };
  };
  for (const [pattern, kind, direction] of RCU) if (pattern.test(name)) return make('rcu', [kind, direction]);
  if (words.includes('rcu') && /held|lockdep|init|access/.test(name)) return undefined;
  const reference = referenceOf(call, words, calls);
  if (reference !== undefined) return make('reference', reference);
  const lock = lockOf(name, words);
  return lock === undefined ? undefined : make('lock', lock);
}

/** guard(), scoped_guard(), CLASS() give back by themselves what they took (include/linux/cleanup.h). */
function guardOf(call: Call, word: string, name: string): ProtocolCall {
  const isReference = word === 'CLASS' && !/lock|irq|mutex|sem|preempt/.test(name);
  const family = /(?:^|_)s?rcu(?:_|$)/.test(name) ? 'rcu' : isReference ? 'reference' : 'lock';
  // CLASS(fdget, f)(fd): the variable stands first.
  const args = word === 'CLASS' ? call.args.slice(1) : call.args;
  return { family, direction: 'other', kind: `guard ${name}`, object: (args[0] ?? '').replace(/^&/, ''), call };
}
