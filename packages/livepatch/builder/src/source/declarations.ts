/**
 * Top-level declarations of preprocessed C, read as text: enough to tell what depends on what. A reading that is unsure
 * says so (`unclear`), and is then taken for code that changes.
 */
export type DeclarationKind =
  /** Code or data that the unit's object gets. */
  | 'emitted'
  /** A function that is only compiled where it is used. */
  | 'inline'
  | 'prototype'
  | 'variable'
  | 'record'
  | 'enumeration'
  | 'typedef'
  /** `struct s;`, static assertions: nothing depends on them. */
  | 'nothing'
  | 'unclear';

export interface Declaration {
  readonly kind: DeclarationKind;
  /** What it declares; for an enumeration its constants. */
  readonly names: readonly string[];
  /** The text, white space squeezed. */
  readonly text: string;
}

const IDENTIFIER = /[A-Za-z_]\w*/g;
const MARKS = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}();]/g;

/** Words of C and gcc: what a declaration declares is none of them. */
export const KEYWORDS: ReadonlySet<string> = new Set(
  `auto break case char const continue default do double else enum extern float for goto if inline int long
  register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
  _Bool _Alignas _Alignof _Static_assert _Thread_local _Noreturn __inline __inline__ __attribute__ __attribute
  __extension__ __typeof__ __typeof typeof asm __asm__ __asm __volatile__ __const __restrict __signed__ __signed
  __int128 __builtin_va_list __auto_type`.split(/\s+/),
);

/** Splits preprocessed text into its top-level declarations. White space is one blank each already: see `squeeze`. */
export function splitDeclarations(text: string): string[] {
  return declarationsUpTo(text, 0, declarationEnds(text));
}

/** The declarations between `from` and each of these ends. */
export function declarationsUpTo(text: string, from: number, ends: Iterable<number>): string[] {
  const chunks: string[] = [];
  let start = from;
  for (const end of ends) {
    const chunk = text.slice(start, end).trim();
    if (chunk !== ';' && chunk !== '') chunks.push(chunk);
    start = end;
  }
  return chunks;
}

/** Where each declaration ends, from `from` on, which is such an end itself. */
export function* declarationEnds(text: string, from = 0): Generator<number, void> {
  let depth = 0;
  let start = from;
  const marks = new RegExp(MARKS);
  marks.lastIndex = from;
  for (let found = marks.exec(text); found !== null; found = marks.exec(text)) {
    const { 0: mark, index } = found;
    let cut = false;
    if (mark === '{' || mark === '(') depth++;
    else if (mark === '}' || mark === ')') {
      depth--;
      cut = depth === 0 && mark === '}' && isFunctionHead(headOf(text.slice(start, index)));
    } else if (mark === ';') cut = depth === 0;
    if (!cut) continue;
    start = index + 1;
    yield start;
  }
  if (start < text.length) yield text.length;
}

/**
 * Makes preprocessed text comparable: no line marks, no line ends (literals have none), and none of the numbers that
 * the preprocessor counts up over the whole unit (`__COUNTER__`), so that one more use in a header changes no name
 * below it.
 */
export function squeeze(preprocessed: string): string {
  return (
    preprocessed
      .replaceAll(/^# \d.*$/gm, '')
      // A declaration of its own: it is not part of the next one.
      .replaceAll(/^#.*$/gm, '$& ;')
      .replaceAll(/\s*\n\s*/g, ' ')
      .replaceAll(/\b(__UNIQUE_ID_\w*?|__compiletime_assert_)\d+\b/g, '$1')
      .trim()
  );
}

export function readDeclaration(text: string): Declaration {
  const of = (kind: DeclarationKind, names: readonly string[] = []): Declaration => ({ kind, names, text });
  if (/^(?:_Static_assert|__extension__ _Static_assert)\b/.test(text)) return of('nothing');
  if (text.startsWith('#')) return of('unclear');
  if (/^(?:asm|__asm__|__asm)\b/.test(text)) return of('emitted');
  const head = headOf(text);
  if (/^(?:__extension__ )?typedef\b/.test(head)) return aliased(text);
  if (text.includes('{') && isFunctionHead(head)) {
    const name = calledName(head);
    if (name === undefined) return of('unclear');
    const isInline = /\b(?:inline|__inline|__inline__)\b/.test(head);
    // linux/compiler_types.h makes `inline` gnu_inline: without static or extern it is emitted.
    return of(isInline && /\b(?:static|extern)\b/.test(head) ? 'inline' : 'emitted', [name]);
  }
  const tag = /^(?:extern |static |const )*(struct|union|enum)\b ?(\w+)? ?\{/.exec(
    head.includes('{') ? head : `${head}{`,
  );
  const body = text.indexOf('{');
  const assigned = withoutGroups(text).includes('=');
  if (body !== -1 && tag !== null && !assigned) {
    const declared = declarators(text.slice(text.lastIndexOf('}') + 1));
    // A variable of an unnamed type, or beside the type's definition.
    if (declared.length > 0 && !/^extern\b/.test(head)) return of('emitted', declared);
    if (tag[1] === 'enum') return of('enumeration', [...enumerators(text).keys(), ...declared]);
    if (tag[2] === undefined) return of('unclear');
    return of('record', [tag[2], ...declared]);
  }
  if (/^(?:struct|union|enum) \w+ ?;$/.test(head) || head === '' || head === ';') return of('nothing');
  if (assigned) return of('emitted', declarators(text));
  const called = calledName(head);
  if (called !== undefined && body === -1) return of('prototype', [called]);
  const names = declarators(head);
  if (names.length === 0) return of('unclear');
  return of(/\bextern\b/.test(head) ? 'variable' : 'emitted', names);
}

/** Constants of an enumeration with their values, as far as text shows them: one added at the end changes no other. */
export function enumerators(text: string): Map<string, string> {
  const body = text.slice(text.indexOf('{') + 1, text.lastIndexOf('}'));
  const values = new Map<string, string>();
  let base = '';
  let distance = 0;
  for (const part of topLevel(body)) {
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

/** Identifiers of a text that are no keywords. */
export function wordsOf(text: string): string[] {
  return (text.match(IDENTIFIER) ?? []).filter((word) => !KEYWORDS.has(word));
}

/** What stands in front of the first brace, without attributes and names for the assembler. */
function headOf(text: string): string {
  // An attribute in front of the body has parentheses of its own, but no braces.
  const brace = text.indexOf('{');
  let head = brace === -1 ? text : text.slice(0, brace);
  for (;;) {
    const at = /\b(?:__attribute__|__attribute|asm|__asm__|__asm|_Alignas|__declspec)\b ?(?:volatile )?\(/.exec(head);
    if (at === null) break;
    const end = closing(head, at.index + at[0].length - 1);
    head = `${head.slice(0, at.index)} ${head.slice(end + 1)}`;
  }
  return head.replaceAll(/\s+/g, ' ').trim();
}

function isFunctionHead(head: string): boolean {
  return head.endsWith(')') && !withoutGroups(head).includes('=') && !/^(?:__extension__ )?typedef\b/.test(head);
}

/** The text without what stands in parentheses, brackets and braces. */
function withoutGroups(text: string): string {
  let depth = 0;
  let out = '';
  for (const char of text) {
    if (char === '(' || char === '{' || char === '[') depth++;
    else if (char === ')' || char === '}' || char === ']') depth--;
    else if (depth === 0) out += char;
  }
  return out;
}

/** Index of the parenthesis that closes the one at `open`. */
function closing(text: string, open: number): number {
  let depth = 0;
  for (const { 0: mark, index } of text.slice(open).matchAll(MARKS)) {
    if (mark === '(') depth++;
    else if (mark === ')' && --depth === 0) return open + index;
  }
  return text.length;
}

/** The function that a head declares: the word before its parameters; for `int (*f(int))(int)` the inner one. */
function calledName(head: string): string | undefined {
  for (const [, name = ''] of head.matchAll(/([A-Za-z_]\w*) ?\(/g)) if (!KEYWORDS.has(name)) return name;
  return undefined;
}

/** Names that a list of declarators declares: `*a, b[2], (*c)(int)`. Too many rather than too few. */
export function declarators(text: string): string[] {
  const names: string[] = [];
  for (const part of topLevel(text.replace(/;\s*$/, ''))) {
    const plain = part.split('=')[0] ?? '';
    const pointer = /\(\s*\*+\s*(?:const\s+)?([A-Za-z_]\w*)/.exec(plain)?.[1];
    const name = pointer ?? wordsOf(withoutGroups(headOf(plain))).at(-1);
    if (name !== undefined) names.push(name);
  }
  return names;
}

function aliased(text: string): Declaration {
  const end = text.lastIndexOf('}');
  const tail = headOf(text.slice(end + 1).replace(/;$/, ''));
  const names = new Set<string>();
  const tag = /\b(?:struct|union|enum)\b(?: ?__attribute__ ?\(\(.*?\)\))? (\w+) ?\{/.exec(text)?.[1];
  if (tag !== undefined) names.add(tag);
  // `int (*f)(int)`, `int f(int)`, `int a, *b`, `typeof(x) c`: every word in front of parameters, brackets, commas and
  // the end.
  for (const part of topLevel(tail)) {
    for (const [, name = ''] of part.matchAll(/([A-Za-z_]\w*)(?= ?(?:\)|\(|\[|$))/g))
      if (!KEYWORDS.has(name)) names.add(name);
  }
  if (/\benum\b[^{]*\{/.test(text)) for (const name of enumerators(text).keys()) names.add(name);
  return { kind: names.size === 0 ? 'unclear' : 'typedef', names: [...names], text };
}

/** Parts of a list between the commas that no bracket holds. */
function topLevel(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '(' || char === '{' || char === '[') depth++;
    else if (char === ')' || char === '}' || char === ']') depth--;
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
