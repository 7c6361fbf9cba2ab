/** A word of C text as far as reviews need it. `directive` is a whole logical preprocessor line without its `#`. */
export interface Token {
  readonly kind: 'word' | 'number' | 'text' | 'mark' | 'directive';
  readonly text: string;
}

const SKIPPED = /(?:[^\S\n]|\\\n)+|\/\/(?:\\\n|[^\n])*|\/\*[\s\S]*?(?:\*\/|$)/y;
const TOKEN =
  /(?<text>"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*')|(?<word>[A-Za-z_]\w*)|(?<number>\.?\d[\w.]*)|(?<mark>->|\+\+|--|<<=?|>>=?|&&|\|\||[-<>=!+*/%&|^]=|[\s\S])/y;
// Literals first, so that what looks like a comment in them is not one.
const DIRECTIVE = /#((?:"(?:\\.|[^"\\\n])*"|\\\n|\/\*[\s\S]*?\*\/|[^\n])*)/y;

/**
 * Splits C text into tokens (C11 6.4, 6.10), without comments. Text that is no C still comes apart, if into nonsense.
 */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let isLineStart = true;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  while (at < text.length) {
    if (text[at] === '\n') {
      at++;
      isLineStart = true;
    } else if (take(SKIPPED) === null) {
      const directive = isLineStart && text[at] === '#' ? take(DIRECTIVE) : null;
      if (directive !== null) {
        const line = (directive[1] ?? '').replaceAll(/\\\n|\/\*[\s\S]*?\*\//g, ' ').trim();
        tokens.push({ kind: 'directive', text: line });
        continue;
      }
      isLineStart = false;
      const groups = take(TOKEN)?.groups ?? {};
      for (const kind of ['text', 'word', 'number', 'mark'] as const) {
        const found = groups[kind];
        if (found !== undefined) tokens.push({ kind, text: found });
      }
    }
  }
  return tokens;
}

/** Tokens as text again: the same for the same tokens, whatever lay between them. */
export function textOf(tokens: readonly Token[]): string {
  let text = '';
  let before: Token | undefined;
  for (const token of tokens) {
    const isApart = before !== undefined && before.kind !== 'mark' && token.kind !== 'mark';
    text += `${isApart || before?.text === ',' ? ' ' : ''}${token.text}`;
    before = token;
  }
  return text;
}
