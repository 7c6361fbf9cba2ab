import type { CodeOf } from '@kmend/protocol';
import type { Reason } from '../types.ts';
import { type Token, textOf, tokensOf } from './tokens.ts';

/** Statements and attributes of a text that tell the assembler or the linker something of their own. */
interface Orders {
  /** `asm` outside of functions, as a symbol's name, in a macro, or with directives of the assembler. */
  readonly assembler: readonly string[];
  readonly attributes: readonly string[];
  /** Directives that ask what files there are, or tell the compiler something about the rest of the file. */
  readonly asked: readonly string[];
}

const ASM = /^(?:asm|__asm|__asm__|asm_\w+|__inline_asm)$/;
/**
 * Attributes that decide where code and data lie, what they are called, or that they run by themselves (GCC manual,
 * "Common Function Attributes").
 */
const ATTRIBUTE = /^_*(?:constructor|destructor|section|alias|ifunc|weakref|symver|target_clones|resolver)_*$/;
/** A directive at the beginning of a statement of the assembler. */
const DIRECTIVE = /(?:^|[\n;:\s])\.[a-z]/;
/**
 * Those that leave the place where the compiler is, or bring in files. Elsewhere than in `asm` a string is given to a
 * macro that has one (`alternative()`).
 */
const LEAVING = /(?:^|[\n;:\s])\.(?:incbin|include|section|pushsection|popsection|previous|subsection)\b/;
const ASKING =
  /^(?:pragma\b|(?:el)?if\b.*\b__has_(?:include|include_next|embed)\b|embed\b|define\b.*\b__has_(?:include|include_next|embed)\b)/;
const SHOWN_LENGTH = 100;

/**
 * What no comparison of functions and variables judges, where one version of a file has more of it than the other: a
 * person must read it. For each kind at most one reason. That assembler code takes files in is seen after all macros,
 * and refused (`assembler-include`).
 */
export function assemblerReasons(source: string, before: string, after: string): Reason[] {
  const [old, fresh] = [ordersOf(before), ordersOf(after)];
  const reason = (code: CodeOf<'needs-review'>, what: string, added: readonly string[]): Reason[] => {
    if (added.length === 0) return [];
    const shown = added
      .slice(0, 3)
      .map((text) => (text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text));
    const more = added.length > 3 ? ` and ${added.length - 3} more` : '';
    return [{ code, verdict: 'needs-review', message: `${what}: ${shown.join(', ')}${more}`, source }];
  };
  return [
    ...reason(
      'asm-added',
      'assembler code that no comparison judges comes with the fix',
      more(old.assembler, fresh.assembler),
    ),
    ...reason(
      'attribute-added',
      'the fix decides where code or data lies, or that it runs by itself',
      more(old.attributes, fresh.attributes),
    ),
    ...reason(
      'include-asked',
      'the fix asks what files there are, or changes how the rest of the file is compiled',
      more(old.asked, fresh.asked),
    ),
  ];
}

/** Those of the second list that the first one has not, or not as often. */
export function more(before: readonly string[], after: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const text of before) left.set(text, (left.get(text) ?? 0) + 1);
  return after.filter((text) => {
    const count = left.get(text) ?? 0;
    left.set(text, count - 1);
    return count <= 0;
  });
}

/** Digraphs (C11 6.4.6) and lines that go on in the next (5.1.1.2) are other spellings of what is looked for. */
export function spelledOut(text: string): string {
  return text
    .replaceAll(/\\\r?\n/g, '')
    .replaceAll('%:', '#')
    .replaceAll('<%', '{')
    .replaceAll('%>', '}');
}

function ordersOf(text: string): Orders {
  const assembler: string[] = [];
  const attributes: string[] = [];
  const asked: string[] = [];
  collect(tokensOf(spelledOut(text)), false);
  return { assembler, attributes, asked };

  function collect(tokens: readonly Token[], isMacro: boolean): void {
    let depth = 0;
    for (const [at, token] of tokens.entries()) {
      if (token.kind === 'directive') directive(token.text);
      else if (token.text === '{') depth++;
      else if (token.text === '}') depth--;
      else if (token.kind === 'text') {
        const isFirst = tokens[at - 1]?.kind !== 'text';
        const joined = isFirst ? joinedText(tokens, at) : '';
        if (LEAVING.test(joined)) assembler.push(JSON.stringify(joined));
      } else if (token.kind === 'word' && ASM.test(token.text)) {
        const statement = tokens.slice(at, endOf(tokens, at));
        // What the template says, and macros in it that say more.
        const isPlain = depth > 0 && !isMacro && !isDirecting(statement);
        if (!isPlain) assembler.push(textOf(statement));
      } else if (token.kind === 'word' && ATTRIBUTE.test(token.text) && isAttribute(tokens, at)) {
        attributes.push(textOf(tokens.slice(at, endOf(tokens, at))));
      }
    }
  }

  function directive(line: string): void {
    if (ASKING.test(line)) asked.push(`#${line}`);
    const body = /^define\s+\w+(?:\([^)]*\))?([\s\S]*)$/.exec(line)?.[1];
    if (body !== undefined) collect(tokensOf(body), true);
  }
}

/** Behind the parenthesis that closes the first one which follows. */
function endOf(tokens: readonly Token[], from: number): number {
  let depth = 0;
  for (let at = from; at < tokens.length; at++) {
    const text = tokens[at]?.text;
    if (text === '(') depth++;
    else if (text === ')' && --depth === 0) return at + 1;
    else if (depth === 0 && (text === ';' || text === '{' || text === '}' || text === ',')) return at;
  }
  return tokens.length;
}

/** The template, up to the first colon, has a directive, or a name that may stand for one. */
function isDirecting(statement: readonly Token[]): boolean {
  const begin = statement.findIndex(({ text }) => text === '(') + 1;
  const end = statement.findIndex(({ text }, at) => at >= begin && text === ':');
  const template = statement.slice(begin, end === -1 ? -1 : end);
  return (
    template.some(({ kind }) => kind === 'word') || template.some((_, at) => DIRECTIVE.test(joinedText(template, at)))
  );
}

/** `__section(...)`, `__alias(...)`, or inside of `__attribute__((...))`. */
function isAttribute(tokens: readonly Token[], at: number): boolean {
  if (/^__/.test(tokens[at]?.text ?? '') && tokens[at + 1]?.text === '(' && !/__$/.test(tokens[at]?.text ?? ''))
    return true;
  for (let before = at - 1; before >= 0; before--) {
    const { text = ';' } = tokens[before] ?? {};
    if (/^__attribute(?:__)?$/.test(text)) return true;
    if (text === ';' || text === '{' || text === '}') return false;
  }
  return false;
}

/** String literals that stand side by side are one (C11 5.1.1.2), with its escapes resolved. */
function joinedText(tokens: readonly Token[], from: number): string {
  let joined = '';
  for (let at = from; tokens[at]?.kind === 'text'; at++) joined += (tokens[at]?.text ?? '').slice(1, -1);
  const named: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', f: '\f', v: '\v' };
  return joined.replaceAll(
    /\\(?:x([0-9a-fA-F]+)|([0-7]{1,3})|([\s\S]))/g,
    (_, hex?: string, octal?: string, one = '') => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16) & 0xff);
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
      return named[one] ?? one;
    },
  );
}
