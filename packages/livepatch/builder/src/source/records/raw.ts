/** Words that conditions of a header may use, so that they decide the same in every unit of this kernel. */
const SAME_EVERYWHERE =
  /^(?:CONFIG_\w+|IS_ENABLED|IS_BUILTIN|defined|if|ifdef|ifndef|elif|else|endif|__KERNEL__|__ASSEMBLY__|_*[A-Z]\w*_H_*)$/;

const DEFINITION = /\b(?:struct|union)\s+([A-Za-z_]\w*)\s*\{/g;

/** The definition of a record in the text of a header. */
interface RawRecord {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Tags of structs and unions that two states of a header define differently, once each, and under conditions that
 * decide alike in every unit.
 */
export function changedRecords(before: string, after: string): string[] {
  const [old, now] = [recordsOf(before), recordsOf(after)];
  return [...old].flatMap(([tag, record]) => {
    const other = now.get(tag);
    if (record === undefined || other === undefined || bare(record.text) === bare(other.text)) return [];
    const isSame = [conditionsOf(before, record), conditionsOf(after, other)].every((words) =>
      words.every((word) => SAME_EVERYWHERE.test(word)),
    );
    return isSame ? [tag] : [];
  });
}

/** `after` with some records as `before` defines them. */
export function withRecordsOf(before: string, after: string, tags: ReadonlySet<string>): string {
  const [old, now] = [recordsOf(before), recordsOf(after)];
  let text = after;
  const places = [...tags].flatMap((tag) => {
    const [from, to] = [old.get(tag), now.get(tag)];
    return from === undefined || to === undefined ? [] : [{ from, to }];
  });
  for (const { from, to } of places.sort((a, b) => b.to.start - a.to.start))
    text = text.slice(0, to.start) + from.text + text.slice(to.end);
  return text;
}

/** By tag; `undefined` for one that is defined more than once, or not to be read. */
function recordsOf(text: string): Map<string, RawRecord | undefined> {
  // Of the same length, so that places are those of the text.
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"/g, (found) =>
    found.replaceAll(/[^\n]/g, ' '),
  );
  const records = new Map<string, RawRecord | undefined>();
  let within = 0;
  for (const { 0: head, 1: tag = '', index } of code.matchAll(DEFINITION)) {
    const end = endOf(code, index + head.length);
    // One inside another is a part of that; what a macro defines is not read.
    const isNested = index < within;
    const line = code.slice(code.lastIndexOf('\n', index) + 1, index);
    const isInMacro = /\\\n\s*$/.test(code.slice(0, index));
    const isUnclear = end === undefined || isNested || isInMacro || line.trim() !== '' || records.has(tag);
    records.set(tag, isUnclear ? undefined : { start: index, end, text: text.slice(index, end) });
    if (end !== undefined) within = Math.max(within, end);
  }
  return records;
}

/** Behind the semicolon that ends a definition whose body begins at `from`. */
function endOf(code: string, from: number): number | undefined {
  let depth = 1;
  for (let at = from; at < code.length; at++) {
    if (code[at] === '{') depth++;
    else if (code[at] === '}') depth--;
    else if (code[at] === ';' && depth === 0) return at + 1;
    if (depth < 0) return undefined;
  }
  return undefined;
}

/** Words of the conditions that a record stands under, and of those inside it. */
function conditionsOf(text: string, { start, end }: RawRecord): string[] {
  const stack: string[][] = [];
  const within: string[] = [];
  let offset = 0;
  for (const line of text.replaceAll('\\\n', '  ').split('\n')) {
    const directive = /^\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b/.exec(line)?.[1];
    if (offset >= end) break;
    if (directive !== undefined) {
      const words = line.replace(/\/[*/].*$/, '').match(/[A-Za-z_]\w*/g) ?? [];
      if (offset > start) within.push(...words);
      if (directive.startsWith('if')) stack.push(words);
      else if (directive === 'endif') stack.pop();
      else stack.at(-1)?.push(...words);
    }
    offset += line.length + 1;
    if (offset <= start) continue;
    within.push(...stack.flat());
  }
  return within;
}

function bare(text: string): string {
  return text
    .replaceAll(/^\s*#\s*line\b.*$/gm, '')
    .replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
