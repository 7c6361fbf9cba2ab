import type { Reason } from '../types.ts';
import { more, spelledOut } from './assembler.ts';
import { type Token, textOf, tokensOf } from './tokens.ts';

/**
 * Whether macros could make assembler code outside of functions of what changes between two versions of a text: a
 * directive comes or changes, or something outside of functions that is called like a macro. Plain declarations and
 * functions cannot.
 */
export function mayAddTopLevel(before: string, after: string): boolean {
  return more(outsideOf(before), outsideOf(after)).length > 0;
}

/** Directives, and statements outside of braces that may be a macro's. */
function outsideOf(text: string): string[] {
  const found: string[] = [];
  let statement: Token[] = [];
  let depth = 0;
  const end = (): void => {
    if (mayBeMacro(statement)) found.push(textOf(statement));
    statement = [];
  };
  for (const token of tokensOf(spelledOut(text))) {
    if (token.kind === 'directive') {
      if (!/^line\b/.test(token.text)) found.push(`#${token.text}`);
    } else if (token.text === '{') {
      if (depth++ === 0) end();
    } else if (token.text === '}') depth--;
    else if (depth > 0) continue;
    else if (token.text === ';') end();
    else statement.push(token);
  }
  end();
  return found;
}

/**
 * `DEFINE_STATIC_CALL(a, b)`, `int x NAMED("a")`; not `static int f(struct a *b)`, where a name of a type comes
 * before the function's.
 */
function mayBeMacro(statement: readonly Token[]): boolean {
  const open = statement.findIndex(({ text }) => text === '(');
  if (open === -1) return false;
  const words = statement.slice(0, open).filter(({ kind }) => kind === 'word');
  const isOneGroup = statement.findLastIndex(({ text }) => text === '(') === open && statement.at(-1)?.text === ')';
  const isCapital = /^[A-Z0-9_]+$/.test(words.at(-1)?.text ?? '');
  return words.length < 2 || !isOneGroup || isCapital || statement.some(({ kind }) => kind === 'text');
}

const STATEMENT_LIMIT = 4000;
const PIECE = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}]|\b(?:asm|__asm|__asm__)\b|^#.*$/gm;

/** The `asm` statements outside of functions of a preprocessed text, each with its strings. */
export function topLevelAssembler(preprocessed: string): string[] {
  const found: string[] = [];
  let depth = 0;
  for (const { 0: piece, index } of preprocessed.matchAll(PIECE)) {
    if (piece === '{') depth++;
    else if (piece === '}') depth--;
    else if (depth === 0 && /^\w/.test(piece)) found.push(statementAt(preprocessed, index));
  }
  return found;
}

function statementAt(text: string, from: number): string {
  const end = text.indexOf(';', from);
  const statement = text.slice(from, end === -1 ? from + STATEMENT_LIMIT : Math.min(end, from + STATEMENT_LIMIT));
  // Numbers in names count what came before: `__initcall__kmod_ip_options__643_6`.
  return statement
    .replaceAll(/^#.*$/gm, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/(?<=\w)\d+/g, '0');
}

/** Assembler code outside of functions that a unit has after macros and did not have before. */
export function topLevelReasons(source: string, before: string, after: string): Reason[] {
  const [first, ...others] = more(topLevelAssembler(before), topLevelAssembler(after));
  if (first === undefined) return [];
  const beside = others.length === 0 ? '' : `, and ${others.length} more`;
  const message = `macros make assembler code outside of functions of what the fix adds: ${first.slice(0, 100)}${beside}`;
  return [{ code: 'asm-added', verdict: 'needs-review', message, source }];
}
