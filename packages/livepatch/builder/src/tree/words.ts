/**
 * Splits a command line as a POSIX shell would, for the quoting that Kbuild writes: single and double quotes,
 * backslashes.
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? '';
    if (quote === "'") {
      if (char === "'") quote = '';
      else word += char;
    } else if (char === '\\' && (quote === '' || '"\\$`'.includes(line[at + 1] ?? ''))) {
      word = (word ?? '') + (line[++at] ?? '');
    } else if (quote === '"') {
      if (char === '"') quote = '';
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** Splits at unquoted semicolons and `&&`: the commands of one Kbuild rule. */
export function splitCommands(line: string): string[] {
  const commands: string[] = [];
  let start = 0;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? '';
    if (quote !== '') {
      if (char === quote) quote = '';
      else if (char === '\\' && quote === '"') at++;
    } else if (char === '\\') {
      at++;
    } else if (char === "'" || char === '"') {
      quote = char;
    } else if (char === ';' || line.startsWith('&&', at)) {
      commands.push(line.slice(start, at).trim());
      start = at + (char === ';' ? 1 : 2);
    }
  }
  commands.push(line.slice(start).trim());
  return commands.filter((command) => command !== '');
}
