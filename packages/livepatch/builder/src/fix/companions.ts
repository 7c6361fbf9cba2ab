import { quotedNames, type TrialFailure } from '../assemble/trial.ts';
import { changedEntities } from '../source/entities.ts';
import type { HeaderParts } from './part.ts';

/** Two versions of the source that a fix was taken from. */
export interface DeltaTexts {
  /** Files that both versions have and that differ. */
  changed(): Promise<readonly string[]>;
  text(path: string, version: 'from' | 'to'): Promise<string>;
}

/** What a fix takes along of the delta that it comes from. */
export interface Proposal {
  readonly files: readonly string[];
  /** Of these headers the definitions of these names alone; the others are taken whole. */
  readonly parts: HeaderParts;
}

/**
 * What to take along beside what a fix has; the same again where nothing of the delta helps. `parts`: of headers only
 * what errors are about.
 */
export async function propose(
  delta: DeltaTexts,
  have: Proposal,
  failures: readonly TrialFailure[],
  how: 'whole' | 'parts',
): Promise<Proposal> {
  if (how === 'parts') return await proposeParts(delta, have, failures);
  const more = await proposeCompanions(delta, new Set(have.files), failures);
  return { files: [...new Set([...have.files, ...more])].sort(), parts: have.parts };
}

/**
 * Parts of headers of the delta that may make failing files compile: what their change says of the names that the
 * errors are about. Other files are proposed whole, as `proposeCompanions` does.
 */
async function proposeParts(delta: DeltaTexts, have: Proposal, failures: readonly TrialFailure[]): Promise<Proposal> {
  const whole = new Set(have.files.filter((path) => have.parts[path] === undefined));
  const files = new Set(have.files);
  const parts: Record<string, readonly string[]> = { ...have.parts };
  for (const failure of failures) {
    // What an error is about stands in its first clause: `conflicting types for ‘f’; have ‘int(struct big *)’`.
    const clauses = failure.errors.map((error) => error.split('; ')[0] ?? error);
    const about = clauses.length === 0 ? failure.names : clauses.flatMap(quotedNames);
    const proposed = await proposeCompanions(delta, whole, [{ ...failure, names: about }]);
    for (const path of proposed) {
      files.add(path);
      if (!path.endsWith('.h')) continue;
      const changed = await changedNames(delta, path);
      parts[path] = [...new Set([...(parts[path] ?? []), ...about.filter((name) => changed.has(name))])].sort();
    }
  }
  return { files: [...files].sort(), parts };
}

/** Names that a change of a header is about, those of the definitions around a changed line included. */
async function changedNames(delta: DeltaTexts, path: string): Promise<ReadonlySet<string>> {
  return new Set([...(await changedWords(delta, path)), ...(await changedDefinitions(delta, path))]);
}

/**
 * Files of the delta that may make failing ones compile: those whose change brings, takes or alters a name that an
 * error is about. First headers that the failing file includes, of these the ones that lie nearest to it, then others;
 * for a name that only linking would miss, C files that define it.
 */
export async function proposeCompanions(
  delta: DeltaTexts,
  have: ReadonlySet<string>,
  failures: readonly TrialFailure[],
): Promise<string[]> {
  const proposed = new Set<string>();
  const changed = await delta.changed();
  for (const failure of failures) {
    // A macro that changed is used in a header, and all that include it fail there.
    const headers = failure.places.filter((path) => path.endsWith('.h') && !have.has(path) && changed.includes(path));
    if (headers.length > 0) {
      for (const path of headers) proposed.add(path);
      continue;
    }
    // A caller of something whose type changed: its own change is in the delta too.
    if (!have.has(failure.source) && changed.includes(failure.source)) {
      proposed.add(failure.source);
      continue;
    }
    const names = new Set(failure.names);
    const linking = failure.errors.length === 0;
    const ranked = changed
      .filter((path) => !have.has(path) && path.endsWith(linking ? '.c' : '.h'))
      .filter((path) => linking || failure.includes.has(path) || isNear(path, failure.source))
      .sort(
        (a, b) =>
          Number(failure.includes.has(b)) - Number(failure.includes.has(a)) ||
          foldersShared(b, failure.source) - foldersShared(a, failure.source),
      );
    for (const words of [changedWords, changedDefinitions]) {
      for (const path of ranked) {
        const changes = await words(delta, path);
        const found = [...names].filter((name) => changes.has(name));
        if (found.length === 0) continue;
        if (linking && !(await defines(delta, path, found))) continue;
        proposed.add(path);
        for (const name of found) names.delete(name);
      }
      if (names.size < new Set(failure.names).size) break;
    }
  }
  return [...proposed].sort();
}

/**
 * How many folders two paths begin with alike: a word of net/batman-adv/types.h and of include/linux/device.h is the
 * former's.
 */
function foldersShared(path: string, source: string): number {
  const [one, other] = [path, source].map((each) => each.split('/').slice(0, -1));
  const differs = one?.findIndex((folder, at) => folder !== other?.[at]) ?? 0;
  return differs === -1 ? (one?.length ?? 0) : differs;
}

/** Headers that a file may newly include: of its own folder, and the kernel's public ones. */
function isNear(path: string, source: string): boolean {
  const folder = source.slice(0, source.lastIndexOf('/') + 1);
  return path.startsWith(folder) || path.startsWith('include/') || path.startsWith('arch/x86/include/');
}

/** Words of the lines that a file's change brings or takes. */
const changedWords = oncePerFile((before, after) => {
  const old = new Set(before.split('\n'));
  const fresh = new Set(after.split('\n'));
  const lines = [...fresh].filter((line) => !old.has(line)).concat([...old].filter((line) => !fresh.has(line)));
  return lines.flatMap((line) => line.match(/[A-Za-z_]\w*/g) ?? []);
});

/** Names whose definition changes in other lines than the name's: the parameters of `TRACE_EVENT(ocfs2_fault, ...)`. */
const changedDefinitions = oncePerFile((before, after) => [
  ...changedEntities(before, after),
  ...changedEntities(after, before),
]);

/** What is said of a file's change is kept as long as the delta: every proposal asks for the whole delta's again. */
function oncePerFile(
  names: (before: string, after: string) => Iterable<string>,
): (delta: DeltaTexts, path: string) => Promise<ReadonlySet<string>> {
  const read = async (delta: DeltaTexts, path: string): Promise<ReadonlySet<string>> => {
    const [before, after] = await Promise.all([delta.text(path, 'from'), delta.text(path, 'to')]);
    return new Set(names(before, after));
  };
  const known = new WeakMap<DeltaTexts, Map<string, ReadonlySet<string>>>();
  return async (delta, path) => {
    const files = known.get(delta) ?? new Map<string, ReadonlySet<string>>();
    known.set(delta, files);
    const found = files.get(path) ?? (await read(delta, path));
    files.set(path, found);
    return found;
  };
}

/** A function or variable definition at the left margin, as kernel style has them. */
async function defines(delta: DeltaTexts, path: string, names: readonly string[]): Promise<boolean> {
  const after = await delta.text(path, 'to');
  return names.some((name) =>
    new RegExp(`^(?!static\\b)[A-Za-z_][^;\\n]*\\b${name}\\b\\s*(?:\\(|=|;|\\[)`, 'm').test(after),
  );
}
