import { enumerators } from './declarations.ts';

/**
 * What a header defines, by name, so that a change of the header leads to the units it can reach. A textual reading: it
 * need not be exact, but must never miss a name; what it cannot name counts under every identifier in it.
 */
export type Entities = ReadonlyMap<string, string>;

const IDENTIFIER = /[A-Za-z_]\w*/g;
const ENUM = /\benum\b(?:\s+\w+)?\s*\{([^}]*)\}/;
/** Words that stand before a parenthesis in a declaration without being its name. */
const NOT_A_NAME = /^(?:__attribute__|__\w+|if|while|for|switch|return|sizeof|typeof|defined)$/;

/** Words of C and names of types that stand everywhere: what a declaration defines is none of them. */
const COMMON = new Set(
  `const volatile static extern inline struct union enum typedef unsigned signed void char short int long float
  double bool size_t ssize_t u8 u16 u32 u64 s8 s16 s32 s64 __u8 __u16 __u32 __u64 __be16 __be32 __le16 __le32
  __le64`.split(/\s+/),
);

/**
 * Names that a header defined before and defines differently, or not at all, after a change. New ones are not among
 * them: nothing can use them yet.
 */
export function changedEntities(before: string, after: string): string[] {
  const now = entitiesOf(after);
  return [...entitiesOf(before)].filter(([name, text]) => now.get(name) !== text).map(([name]) => name);
}

/** Definitions of a text by name; several of one name (in branches of `#if`) are joined. */
export function entitiesOf(text: string): Entities {
  const entities = new Map<string, string>();
  const add = (names: readonly string[], chunk: string): void => {
    for (const name of names) entities.set(name, `${entities.get(name) ?? ''}\n${chunk}`);
  };
  for (const { condition, code, macros } of blocks(text)) {
    // What a definition depends on is part of it.
    for (const { name, body } of macros) add([name], `${condition}${body}`);
    for (const chunk of declarations(code)) {
      const values = enumeratorsOf(chunk);
      if (values === undefined) add(namesOf(chunk), `${condition}${chunk}`);
      // An enumerator counts by its own value: one added at the end changes no other.
      else for (const [name, value] of values) add([name], `${condition}${value}`);
    }
  }
  return entities;
}

/** The definitions of a text in which one of the words occurs. */
export function mentions(text: string, words: ReadonlySet<string>): [name: string, definition: string][] {
  return [...entitiesOf(text)].filter(([, chunk]) => [...chunk.matchAll(IDENTIFIER)].some(([word]) => words.has(word)));
}

function stripComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"/g, (found) =>
    found.startsWith('"') ? found : ' ',
  );
}

interface Block {
  /** The directives that decide whether it counts; empty at the outermost level. */
  readonly condition: string;
  readonly code: string;
  readonly macros: readonly { readonly name: string; readonly body: string }[];
}

/**
 * A text by the conditions its lines stand under. A declaration that a condition splits ends up in parts, each under
 * the names in it.
 */
function blocks(text: string): Block[] {
  const found: { condition: string; lines: string[]; macros: { name: string; body: string }[] }[] = [];
  const stack: string[] = [];
  const begin = (): void =>
    void found.push({ condition: stack.map((line) => `${line}\n`).join(''), lines: [], macros: [] });
  begin();
  for (const line of stripComments(text).replaceAll('\\\n', ' ').split('\n')) {
    const directive = /^\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b/.exec(line)?.[1];
    const macro = /^\s*#\s*define\s+(\w+)(.*)$/.exec(line);
    const block = found.at(-1);
    if (directive !== undefined) {
      const last = directive.startsWith('if') ? undefined : stack.pop();
      if (directive === 'elif' || directive === 'else') stack.push(`${last ?? ''} ${squeeze(line)}`);
      else if (directive !== 'endif') stack.push(squeeze(line));
      begin();
    } else if (macro !== null) block?.macros.push({ name: macro[1] ?? '', body: squeeze(line) });
    else if (!/^\s*#/.test(line)) block?.lines.push(line);
  }
  return found.map(({ condition, lines, macros }) => ({ condition, code: lines.join('\n'), macros }));
}

function squeeze(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}

/** Top-level declarations and definitions, white space squeezed. */
function declarations(code: string): string[] {
  const chunks: string[] = [];
  let depth = 0;
  let start = 0;
  const cut = (end: number): void => {
    const chunk = squeeze(code.slice(start, end));
    if (chunk !== '' && chunk !== ';') chunks.push(chunk);
    start = end;
  };
  for (const { 0: mark, index } of code.matchAll(/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}();]/g)) {
    if (mark === '{' || mark === '(') depth++;
    else if (mark === '}' || mark === ')') depth = Math.max(0, depth - 1);
    if (depth !== 0) continue;
    const isBody = mark === '}' && /\)[\s\w]*\{/.test(code.slice(start, index));
    if (mark === ';' || isBody) cut(index + 1);
  }
  cut(code.length);
  return chunks;
}

function enumeratorsOf(chunk: string): Map<string, string> | undefined {
  return ENUM.test(chunk) ? enumerators(chunk) : undefined;
}

function namesOf(chunk: string): string[] {
  const tag = /\b(?:struct|union)\s+(\w+)\s*\{/.exec(chunk)?.[1];
  const alias = /^typedef\b.*?([A-Za-z_]\w*)\s*(?:\[[^\]]*\])*\s*;$/.exec(chunk)?.[1];
  if (tag !== undefined || alias !== undefined) return [tag, alias].filter((name) => name !== undefined);
  const head = chunk.split('{')[0] ?? chunk;
  // A pointer to a function, also as a member where conditions split the struct: `u32 (*cookie_init_sequence)(...)`.
  const pointer = /^[^(]*\(\s*\*[\s*]*(?:const\s+)?([A-Za-z_]\w*)/.exec(head)?.[1];
  if (pointer !== undefined) return [pointer];
  const called = [...head.matchAll(/([A-Za-z_]\w*)\s*\(/g)]
    .map(([, name = '']) => name)
    .filter((name) => !COMMON.has(name));
  const named = called.find((name) => !NOT_A_NAME.test(name)) ?? called[0];
  // A macro at top level (DECLARE_PER_CPU(...)) defines something that its arguments name.
  if (named !== undefined && !/^[A-Z_0-9]+$/.test(named)) return [named];
  const variable = /([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)*(?:=.*)?;$/.exec(chunk)?.[1];
  if (named === undefined && variable !== undefined) return [variable];
  return [...new Set([...chunk.matchAll(IDENTIFIER)].map(([word]) => word))].filter(
    (word) => word !== named && !COMMON.has(word),
  );
}
