import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import { oncePerTree } from './once.ts';
import { ELSEWHERE, sourceFiles } from './source-files.ts';

const Paths = z.array(z.string());

/** Lists of files are found by the lower bits of a word's hash. The upper ones stand in each entry, above the file. */
const BITS = 20;
const LISTS = 1 << BITS;
const MASK = LISTS - 1;
const NEWLINE = 0x0a;
/** FNV-1a of 32 bits (RFC 9923). */
const BASIS = 0x811c9dc5;
const PRIME = 0x01000193;
/** Bytes of words, as grep(1) has them: letters, digits, `_`. */
const IS_WORD = Uint8Array.from({ length: 256 }, (_, byte) => (/\w/.test(String.fromCharCode(byte)) ? 1 : 0));

/**
 * Which files have a word, by a hash of it: one in some thousand words may name files that do not have it; none that
 * have it are missed. On disk: a line of JSON with the paths; then, aligned to four bytes, where the list of each lower
 * half of a hash begins (2^20 + 1 numbers), and the lists.
 */
export class WordIndex {
  readonly #paths: readonly string[];
  readonly #starts: Uint32Array;
  readonly #entries: Uint32Array;

  private constructor(paths: readonly string[], starts: Uint32Array, entries: Uint32Array) {
    this.#paths = paths;
    this.#starts = starts;
    this.#entries = entries;
  }

  /** `read` gives the bytes of a file. */
  static async of(paths: readonly string[], read: (path: string) => Promise<Uint8Array>): Promise<WordIndex> {
    if (paths.length > LISTS) throw new RangeError(`${paths.length} files are more than an index of words holds`);
    const hashes: Uint32Array[] = [];
    const scan = new Scan();
    for (const path of paths) hashes.push(scan.hashesOf(await read(path)));
    const starts = new Uint32Array(LISTS + 1);
    for (const own of hashes) for (const hash of own) starts[(hash & MASK) + 1] = (starts[(hash & MASK) + 1] ?? 0) + 1;
    for (let list = 0; list < LISTS; list++) starts[list + 1] = (starts[list + 1] ?? 0) + (starts[list] ?? 0);
    const next = starts.slice();
    const entries = new Uint32Array(starts[LISTS] ?? 0);
    for (const [file, own] of hashes.entries()) {
      for (const hash of own) {
        const at = next[hash & MASK] ?? 0;
        entries[at] = upperOf(hash) | file;
        next[hash & MASK] = at + 1;
      }
    }
    return new WordIndex(paths, starts, entries);
  }

  /** `undefined`: these bytes are no index, or not a whole one. */
  static parse(bytes: Uint8Array): WordIndex | undefined {
    const end = bytes.indexOf(NEWLINE);
    const paths = Paths.safeParse(parseJson(Buffer.from(bytes.subarray(0, Math.max(end, 0))).toString('utf8')));
    const start = Math.ceil((end + 1) / 4) * 4;
    if (!paths.success || bytes.length < start + 4 * (LISTS + 1) || (bytes.length - start) % 4 !== 0) return undefined;
    // Behind a copy's own beginning the numbers are aligned.
    const numbers = new Uint32Array(Uint8Array.from(bytes.subarray(start)).buffer);
    const starts = numbers.subarray(0, LISTS + 1);
    const entries = numbers.subarray(LISTS + 1);
    return starts[LISTS] === entries.length ? new WordIndex(paths.data, starts, entries) : undefined;
  }

  get bytes(): Uint8Array {
    const head = Buffer.from(`${JSON.stringify(this.#paths)}\n`);
    const numbers = [this.#starts, this.#entries].map((one) => Buffer.from(one.buffer, one.byteOffset, one.byteLength));
    return Buffer.concat([head, Buffer.alloc(-head.length & 3), ...numbers]);
  }

  /** Files that have one of these words, in the order of the index. */
  filesWith(words: Iterable<string>): string[] {
    const files = new Set<number>();
    for (const word of words) {
      const hash = hashOf(word);
      const upper = upperOf(hash);
      const list = this.#entries.subarray(this.#starts[hash & MASK], this.#starts[(hash & MASK) + 1]);
      for (const entry of list) if ((entry & ~MASK) >>> 0 === upper) files.add(entry & MASK);
    }
    return [...files].sort((a, b) => a - b).map((file) => this.#paths[file] ?? '');
  }
}

function upperOf(hash: number): number {
  return (hash & ~MASK) >>> 0;
}

function hashOf(word: string): number {
  let hash = BASIS;
  for (const byte of Buffer.from(word, 'latin1')) hash = Math.imul(hash ^ byte, PRIME);
  return hash >>> 0;
}

/** Hashes the words of texts. */
class Scan {
  /** By lower half: the hash that was seen last, and in which text. */
  readonly #seen = new Uint32Array(LISTS);
  readonly #in = new Uint32Array(LISTS);
  #found = new Uint32Array(1 << 16);
  #text = 0;

  /** Nearly each once: two words whose hashes have the same lower half may hide each other. */
  hashesOf(text: Uint8Array): Uint32Array {
    this.#text++;
    let size = 0;
    let hash = BASIS;
    let isInside = false;
    for (let at = 0; at <= text.length; at++) {
      const byte = text[at] ?? 0;
      if (IS_WORD[byte] === 1) {
        hash = Math.imul(hash ^ byte, PRIME);
        isInside = true;
      } else if (isInside) {
        if (this.#isNew(hash >>> 0)) {
          if (size === this.#found.length) this.#grow();
          this.#found[size++] = hash;
        }
        hash = BASIS;
        isInside = false;
      }
    }
    return this.#found.slice(0, size);
  }

  #isNew(hash: number): boolean {
    const list = hash & MASK;
    if (this.#in[list] === this.#text && this.#seen[list] === hash) return false;
    this.#in[list] = this.#text;
    this.#seen[list] = hash;
    return true;
  }

  #grow(): void {
    const larger = new Uint32Array(2 * this.#found.length);
    larger.set(this.#found);
    this.#found = larger;
  }
}

/**
 * The index of a tree's C files and headers, made at first use and kept beside the tree. Other architectures, and what
 * is not the kernel, are left out.
 */
export const wordIndex = oncePerTree(async (edges, tree): Promise<WordIndex> => {
  const path = join(tree.directory, 'words.index');
  const kept = await readFile(path).catch(() => undefined);
  const known = kept === undefined ? undefined : WordIndex.parse(kept);
  if (known !== undefined) return known;
  edges.progress.step(`index the words of the source of ${tree.kernel.release}`);
  const paths = (await sourceFiles(edges, tree, ELSEWHERE)).filter((name) => /\.[ch]$/.test(name));
  let done = 0;
  const made = await WordIndex.of(paths, async (name) => {
    edges.signal.throwIfAborted();
    if (++done % 1000 === 0) edges.progress.advance(done, paths.length, 'files');
    return await readFile(join(tree.source, name));
  });
  await writeFileAtomic(path, made.bytes);
  return made;
});
