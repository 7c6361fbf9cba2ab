import { declarationEnds, declarationsUpTo, readDeclaration } from '../declarations.ts';

/**
 * Whether a preprocessed, squeezed text may fill a value of a type without naming the members: `struct proto p = { f,
 * true }`. Where a member comes in between, that fills others than before. `true` where it is unsure. `records`: as C
 * calls them (`struct proto`).
 */
export function fillsByPosition(text: string, records: Iterable<string>): boolean {
  const direct = new Set(records);
  const tags = new Set([...direct].map((name) => name.split(' ').at(-1)));
  const declarations = declarationsUpTo(text, 0, declarationEnds(text)).map(readDeclaration);
  const holders = new Set<string>();
  for (let size = -1; size !== holders.size; ) {
    size = holders.size;
    for (const { kind, names: declared, text: declaration } of declarations) {
      if (kind !== 'record' && kind !== 'typedef') continue;
      if (usesValueOf(declaration, direct) || usesValueOf(declaration, holders))
        for (const name of declared) if (!tags.has(name)) holders.add(name);
    }
  }
  return declarations.some(
    ({ kind, text: declaration }) =>
      kind !== 'record' &&
      kind !== 'typedef' &&
      ([...direct].some((name) => hasPositional(declaration, name, false)) ||
        [...holders].some((name) => hasPositional(declaration, name, true))),
  );
}

function usesValueOf(text: string, names: ReadonlySet<string>): boolean {
  return [...names].some((name) => isValueOf(text, name));
}

/** Whether a type is mentioned as more than what something points to. */
export function isValueOf(text: string, name: string): boolean {
  return text.includes(name) && valueMention(name).test(text);
}

function valueMention(name: string): RegExp {
  return new RegExp(`\\b${name}\\b(?!\\s*(?:(?:const|volatile|restrict)\\s*)*\\*)`, 'g');
}

/** `isHolder`: what the braces of one member of it hold may be the type itself. */
function hasPositional(text: string, name: string, isHolder: boolean): boolean {
  if (!text.includes(name)) return false;
  for (const { index } of text.matchAll(valueMention(name))) {
    let at = index + name.length;
    // What the word begins ends with a semicolon; on the way there may be several variables, each with its value.
    for (let mark = text[at]; mark !== undefined && mark !== ';'; mark = text[++at]) {
      if (mark !== '{') continue;
      const before = text.slice(index, at).trimEnd();
      const end = closing(text, at);
      // Behind a parenthesis: a compound literal, or the body of a function that gives or takes such a value.
      if (/[=)]$/.test(before) && !namesMembers(text.slice(at + 1, end), isHolder)) return true;
      at = end;
    }
  }
  return false;
}

/** Whether all elements of an initializer name what they fill; in arrays those of each element. */
function namesMembers(group: string, isHolder: boolean): boolean {
  if (/^\s*0?\s*$/.test(group)) return true;
  return elements(group).every((element) => {
    const member = /^\.\s*\w[^=]*=\s*(.*)$/s.exec(element)?.[1];
    if (member !== undefined && !element.startsWith('[')) {
      return !isHolder || !member.startsWith('{') || namesMembers(inner(member), isHolder);
    }
    const value = element.startsWith('[') ? element.slice(element.indexOf('=') + 1).trim() : element;
    return value.startsWith('{') && namesMembers(inner(value), isHolder);
  });
}

function inner(group: string): string {
  return group.slice(1, closing(group, 0));
}

function elements(group: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at <= group.length; at++) {
    const char = group[at];
    if (char === '"' || char === "'") at = literalEnd(group, at);
    else if (char === '(' || char === '{' || char === '[') depth++;
    else if (char === ')' || char === '}' || char === ']') depth--;
    else if ((char === ',' && depth === 0) || char === undefined) {
      const part = group.slice(start, at).trim();
      if (part !== '') parts.push(part);
      start = at + 1;
    }
  }
  return parts;
}

/** Index of the brace that closes the one at `open`. */
function closing(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    const char = text[at];
    if (char === '"' || char === "'") at = literalEnd(text, at);
    else if (char === '{') depth++;
    else if (char === '}' && --depth === 0) return at;
  }
  return text.length;
}

function literalEnd(text: string, open: number): number {
  const quote = text[open];
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === quote) return at;
  }
  return text.length;
}
