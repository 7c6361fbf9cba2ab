import { declarators } from '../declarations.ts';

/** A member of a struct or union as its declaration says it; anonymous structs and unions around it are opened up. */
interface Leaf {
  /** The declaration, white space squeezed. */
  readonly text: string;
  /** The anonymous types around it, outermost first: `u` for a union, `s` for a struct. */
  readonly around: string;
}

/** What the text of a record says of a change that may move nothing in it. The places are another question. */
export interface MembersChange {
  /** Members that lie in one more anonymous union than before. They must be numbers or pointers. */
  readonly wrapped: readonly string[];
  /** The member that was declared last, where new ones come behind it: an array at the end has a meaning of its own. */
  readonly followed: string | undefined;
  /** Initializers without the names of members mean what they meant before. */
  readonly keepsOrder: boolean;
}

const MARKS = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}();]/g;

/**
 * Compares the definitions of one record, preprocessed and squeezed. `undefined` where it is more than members that
 * come, go, or lie in one more union: an attribute, another type of a member, another order.
 */
export function compareMembers(before: string, after: string): MembersChange | undefined {
  const [old, now] = [partsOf(before), partsOf(after)];
  if (old === undefined || now === undefined || old.head !== now.head || old.tail !== now.tail) return undefined;
  const [oldLeaves, newLeaves] = [leavesOf(old.body), leavesOf(now.body)];
  if (oldLeaves === undefined || newLeaves === undefined) return undefined;
  const places = new Map(newLeaves.map((leaf, at) => [leaf.text, { leaf, at }]));
  if (places.size !== newLeaves.length) return undefined;
  const kept = new Set(oldLeaves.map(({ text }) => text));
  const come = new Set(newLeaves.flatMap(({ text }) => (kept.has(text) ? [] : namesOf(text))));
  const wrapped: string[] = [];
  let last = -1;
  for (const { text, around } of oldLeaves) {
    const found = places.get(text);
    if (found === undefined) {
      // Of another type. Else it is gone, or has another name: a text that still used it would not compile.
      if (namesOf(text).some((name) => come.has(name))) return undefined;
      continue;
    }
    if (found.at < last) return undefined;
    last = found.at;
    if (found.leaf.around === around) continue;
    // A bit-field or an array in a union of its own is not read as before.
    if (found.leaf.around !== `${around}u` || /[:[]/.test(text)) return undefined;
    wrapped.push(...namesOf(text));
  }
  const end = oldLeaves.at(-1);
  const at = end === undefined ? undefined : places.get(end.text)?.at;
  if (end === undefined || at === undefined) return undefined;
  const isFollowed = newLeaves.length > at + 1;
  // Which member of an anonymous type is the last one in memory is not looked for.
  if (isFollowed && end.around !== '') return undefined;
  const [oldOrder, newOrder] = [orderOf(old.body), orderOf(now.body)];
  return {
    wrapped,
    followed: isFollowed ? namesOf(end.text).at(-1) : undefined,
    keepsOrder: oldOrder.every((text, at) => text === newOrder[at]),
  };
}

function partsOf(text: string): { head: string; body: string; tail: string } | undefined {
  const [open, close] = [text.indexOf('{'), text.lastIndexOf('}')];
  // Constants of an enumeration inside are names of the whole unit.
  if (open === -1 || close < open || /\benum\b[^;{]*\{/.test(text)) return undefined;
  return { head: text.slice(0, open).trim(), body: text.slice(open + 1, close), tail: text.slice(close + 1).trim() };
}

/** Member declarations at the top of a body. */
function declarationsOf(body: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let start = 0;
  for (const { 0: mark, index } of body.matchAll(MARKS)) {
    if (mark === '{' || mark === '(') depth++;
    else if (mark === '}' || mark === ')') depth--;
    else if (mark === ';' && depth === 0) {
      const text = body.slice(start, index).trim();
      if (text !== '') found.push(text);
      start = index + 1;
    }
  }
  return found;
}

const ANONYMOUS = /^(union|struct) ?\{(.*)\}$/s;

function leavesOf(body: string, around = ''): Leaf[] | undefined {
  const leaves: Leaf[] = [];
  for (const text of declarationsOf(body)) {
    const [, kind, inner] = ANONYMOUS.exec(text) ?? [];
    if (kind === undefined || inner === undefined) {
      // `int a, *b;` declares two: such a list is compared as one.
      leaves.push({ text, around });
      continue;
    }
    const within = leavesOf(inner, around + kind.charAt(0));
    if (within === undefined || within.length === 0) return undefined;
    leaves.push(...within);
  }
  return leaves;
}

/** The members that an initializer without names fills, in its order: of a union the first. */
function orderOf(body: string): string[] {
  return declarationsOf(body).flatMap((text) => {
    const [, kind, inner] = ANONYMOUS.exec(text) ?? [];
    if (kind === undefined || inner === undefined) return [text];
    if (kind === 'struct') return orderOf(inner);
    const [first] = declarationsOf(inner);
    return first === undefined ? [] : orderOf(`${first};`);
  });
}

function namesOf(text: string): string[] {
  return declarators(text.replaceAll(/:[^,]*/g, ''));
}
