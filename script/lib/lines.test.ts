import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longLines, WIDEST, wrapped } from './lines.ts';

const WORDS = Array.from({ length: 40 }, (_, index) => `word${index}`).join(' ');

test('reports long comments of code, but no literal that the formatter left', () => {
  const text = `const short = 1;\n/** ${WORDS} */\nconst message = '${WORDS}';\n// ${WORDS}\n * ${WORDS}\n`;
  assert.deepEqual(
    longLines('a.ts', text).map(({ line }) => line),
    [2, 4, 5],
  );
});

test('reports every long line of documents, except one word that cannot be broken, and long comments of scripts', () => {
  assert.equal(longLines('a.md', WORDS).length, 1);
  assert.deepEqual(
    longLines('a.sh', `echo "${WORDS}"\n# ${WORDS}`).map(({ line }) => line),
    [2],
  );
  assert.deepEqual(longLines('a.md', `- https://example.org/${'x'.repeat(WIDEST)}`), []);
});

test('wraps comments to lines that are not too long, with the same words', () => {
  for (const [path, text] of [
    ['a.ts', `  /** ${WORDS} */\n  const a = 1;\n`],
    ['a.ts', `/**\n * Short.\n *\n * ${WORDS}\n * and more.\n *\n * - ${WORDS}\n */\n`],
    ['a.ts', `    // ${WORDS}\n    // and more.\n`],
    ['a.c', `/* ${WORDS} */\nint a;\n`],
    ['a.sh', `# ${WORDS}\n`],
    ['a.md', `# Title\n\n${WORDS}\nand more.\n\n- ${WORDS}\n- next\n`],
  ] as const) {
    const result = wrapped(path, text);
    assert.deepEqual(longLines(path, result), [], path);
    assert.equal(bare(result), bare(text), path);
    assert.equal(wrapped(path, result), result, path);
  }
});

test('leaves code blocks, tables, directives and short paragraphs as they are', () => {
  const table = `| ${WORDS} |`;
  const text = `Short\nlines.\n\n\`\`\`sh\n${WORDS}\n\`\`\`\n\n${table}\n`;
  assert.equal(wrapped('a.md', text), text);
  const directive = `// biome-ignore lint/style/x: ${WORDS}\n`;
  assert.equal(wrapped('a.ts', directive), directive);
});

/** The words alone, without marks of comments and line ends. */
function bare(text: string): string {
  return text
    .replaceAll(/\/\*\*?|\*\/|^\s*(?:\*(?!\/)|\/\/|#) ?/gm, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
