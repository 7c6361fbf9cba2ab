/**
 * What a header defines, by name, so that a change of the header leads to the units it can reach. A textual reading: it need not be exact,
 * but must never miss a name; what it cannot name counts under every identifier in it.
 */
export type Entities = ReadonlyMap<string, string>;

const IDENTIFIER = /[A-Za-z_]\w*/g;
const ENUM = /\benum\b(?:\s+\w+)?\s*\{([^}]*)\}/;
/** Words that stand before a parenthesis in a declaration without being its name. */
const NOT_A_NAME = /^(?:__attribute__|__\w+|if|while|for|switch|return|sizeof|typeof|defined)$/;

/** Names that a header defined before and defines differently, or not at all, after a change. New ones are not among them: nothing can use them yet. */
export function changedEntities(before: string, after: string): string[] {
  if (conditions(before) !== conditions(after)) return [...entitiesOf(before).keys()];
  const now = entitiesOf(after);
  return [...entitiesOf(before)].filter(([name, text]) => now.get(name) !== text).map(([name]) => name);
}

/** Definitions of a text by name; several of one name (in branches of `#if`) are joined. */
export function entitiesOf(text: string): Entities {
  const entities = new Map<string, string>();
  const add = (names: readonly string[], chunk: string): void => {
    for (const name of names) entities.set(name, `${entities.get(name) ?? ''}\n${chunk}`);
  };
  const { code, macros } = separate(text);
  for (const { name, body } of macros) add([name], body);
  for (const chunk of declarations(code)) {
    const values = enumerators(chunk);
    if (values === undefined) add(namesOf(chunk), chunk);
    // An enumerator counts by its own value: one added at the end changes no other.
    else for (const [name, value] of values) add([name], value);
  }
  return entities;
}

/** Names of the definitions of a text in which one of the words occurs. */
export function mentions(text: string, words: ReadonlySet<string>): string[] {
  return [...entitiesOf(text)]
    .filter(([, chunk]) => [...chunk.matchAll(IDENTIFIER)].some(([word]) => words.has(word)))
    .map(([name]) => name);
}

function stripComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"/g, (found) =>
    found.startsWith('"') ? found : ' ',
  );
}

/** Directives that decide what else counts. */
function conditions(text: string): string {
  const lines = stripComments(text).replaceAll('\\\n', ' ').split('\n');
  return lines
    .filter((line) => /^\s*#\s*(?:if|ifdef|ifndef|elif|else|endif|undef|pragma)\b/.test(line))
    .map((line) => line.replaceAll(/\s+/g, ' ').trim())
    .join('\n');
}

function separate(text: string): { code: string; macros: { name: string; body: string }[] } {
  const macros: { name: string; body: string }[] = [];
  const code: string[] = [];
  for (const line of stripComments(text).replaceAll('\\\n', ' ').split('\n')) {
    const macro = /^\s*#\s*define\s+(\w+)(.*)$/.exec(line);
    if (macro !== null) macros.push({ name: macro[1] ?? '', body: squeeze(line) });
    else if (!/^\s*#/.test(line)) code.push(line);
  }
  return { code: code.join('\n'), macros };
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

function enumerators(chunk: string): Map<string, string> | undefined {
  const body = ENUM.exec(chunk)?.[1];
  if (body === undefined) return undefined;
  const values = new Map<string, string>();
  let base = '';
  let distance = 0;
  for (const part of body.split(',')) {
    const [, name, value] = /^\s*(\w+)[^=]*(?:=(.*))?$/s.exec(part) ?? [];
    if (name === undefined) continue;
    if (value !== undefined) {
      base = value.trim();
      distance = 0;
    }
    values.set(name, `${base}+${distance++}`);
  }
  return values;
}

function namesOf(chunk: string): string[] {
  const tag = /\b(?:struct|union)\s+(\w+)\s*\{/.exec(chunk)?.[1];
  const alias = /^typedef\b.*?(\w+)\s*(?:\[[^\]]*\])*\s*;$/.exec(chunk)?.[1];
  if (tag !== undefined || alias !== undefined) return [tag, alias].filter((name) => name !== undefined);
  const head = chunk.split('{')[0] ?? chunk;
  const called = [...head.matchAll(/([A-Za-z_]\w*)\s*\(/g)].map(([, name = '']) => name);
  const named = called.find((name) => !NOT_A_NAME.test(name)) ?? called[0];
  // A macro at top level (DECLARE_PER_CPU(...)) defines something that its arguments name.
  if (named !== undefined && !/^[A-Z_0-9]+$/.test(named)) return [named];
  const variable = /(\w+)\s*(?:\[[^\]]*\]\s*)*(?:=.*)?;$/.exec(chunk)?.[1];
  if (named === undefined && variable !== undefined) return [variable];
  return [...new Set([...chunk.matchAll(IDENTIFIER)].map(([word]) => word))];
}
