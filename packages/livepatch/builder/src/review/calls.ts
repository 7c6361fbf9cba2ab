import { type Token, textOf } from './tokens.ts';

/** A call as it stands in the source. */
export interface Call {
  readonly name: string;
  readonly args: readonly string[];
  /** What the value is assigned to: `dev` of `dev = dev_get_by_index(net, i)`. */
  readonly result?: string;
  /** Stands alone: its value, if it has one, is not used. */
  readonly isStatement: boolean;
  /** Name and arguments; equal texts are equal calls. */
  readonly text: string;
}

const KEYWORD =
  /^(?:if|while|for|switch|return|sizeof|typeof|__typeof__|alignof|_Alignof|_Static_assert|do|else|case)$/;

/**
 * Every call, also those in arguments of others; not those through a pointer, of which only the field's name is known.
 */
export function callsIn(body: readonly Token[]): Call[] {
  const calls: Call[] = [];
  for (const [index, token] of body.entries()) {
    if (token.kind !== 'word' || KEYWORD.test(token.text) || body[index + 1]?.text !== '(') continue;
    const before = body[index - 1];
    if (before?.text === '->' || before?.text === '.' || isDeclaration(before)) continue;
    const first = argumentsAt(body, index + 1);
    // guard(mutex)(&lock): the class, then what it is made of (include/linux/cleanup.h).
    const second = body[first.end]?.text === '(' && isGuard(token.text) ? argumentsAt(body, first.end) : undefined;
    const isClass = isGuard(token.text);
    const name = isClass ? `${token.text}(${first.args[0] ?? ''})` : token.text;
    const args = isClass ? [...first.args.slice(1), ...(second?.args ?? [])] : first.args;
    const result = assignedTo(body, index);
    const text = `${name}(${args.join(', ')})`;
    const isStatement = /^(?:[;{}:)]|else)$/.test(before?.text ?? ';') && body[first.end]?.text === ';';
    calls.push({ name, args, isStatement, text, ...(result === undefined ? {} : { result }) });
  }
  return calls;
}

export function isGuard(name: string): boolean {
  return /^(?:guard|scoped_guard|cond_guard|scoped_cond_guard|CLASS)$/.test(name);
}

/**
 * `struct foo bar(...)`, `int bar(...)`: a word before a name makes it a declaration, but for `return` and its like.
 */
function isDeclaration(before: Token | undefined): boolean {
  return before?.kind === 'word' && !KEYWORD.test(before.text) && before.text !== 'goto';
}

function argumentsAt(body: readonly Token[], open: number): { readonly args: string[]; readonly end: number } {
  const args: string[] = [];
  let current: Token[] = [];
  let depth = 0;
  let at = open;
  for (; at < body.length; at++) {
    const token = body[at];
    if (token === undefined) break;
    const { text } = token;
    if (/^[)\]}]$/.test(text) && --depth === 0) break;
    if (text === ',' && depth === 1) {
      args.push(textOf(current));
      current = [];
    } else if (at > open) current.push(token);
    if (/^[([{]$/.test(text)) depth++;
  }
  if (current.length > 0) args.push(textOf(current));
  return { args, end: at + 1 };
}

/** The left side of `x->y = call(...)`, also behind a cast or `(`, as in `if (!(x = call()))`. */
function assignedTo(body: readonly Token[], call: number): string | undefined {
  let at = call - 1;
  if (body[at]?.text === ')') {
    while (at >= 0 && body[at]?.text !== '(') at--;
    at--;
  }
  if (body[at]?.text !== '=') return undefined;
  const end = at;
  while (at > 0 && /^(?:[A-Za-z_]\w*|->|\.|\d+|\[|\])$/.test(body[at - 1]?.text ?? '')) {
    // `struct sock *sk = ...`: the name alone.
    if (body[at - 1]?.kind === 'word' && body[at]?.kind === 'word') break;
    at--;
  }
  return at === end ? undefined : textOf(body.slice(at, end));
}
