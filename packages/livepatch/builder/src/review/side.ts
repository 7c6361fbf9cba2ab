import { type Call, callsIn } from './calls.ts';
import { type Family, type ProtocolCall, protocolOf } from './families.ts';
import type { ScannedFile } from './functions.ts';
import { type Token, textOf, tokensOf } from './tokens.ts';

/** Name of the one "function" of a file that does not come apart. */
const WHOLE_FILE = 'the file as a whole';

/** Gives another view of what it is given, and no reference. */
const CONVERSION =
  /^(?:container_of|to_\w+|page_folio|compound_head|READ_ONCE|\w+_(?:sk|priv|entry|inode|page|folio|of))$/;

type Bodies = ReadonlyMap<string, readonly Token[]>;

/** A text and what was found in it. */
export interface Version {
  readonly text: string;
  readonly file: ScannedFile;
}

/** The functions of one version of a file, with the calls that matter to reviews. */
export class Side {
  readonly isPatched: boolean;
  readonly #bodies: Bodies;
  readonly #names: ReadonlySet<string>;
  readonly #texts = new Map<string, string>();
  readonly #calls = new Map<string, readonly ProtocolCall[]>();

  constructor(bodies: Bodies, names: ReadonlySet<string>, isPatched: boolean) {
    this.isPatched = isPatched;
    this.#bodies = bodies;
    this.#names = names;
  }

  get functions(): Iterable<string> {
    return this.#bodies.keys();
  }

  has(name: string): boolean {
    return this.#bodies.has(name);
  }

  text(name: string): string {
    let text = this.#texts.get(name);
    if (text === undefined) {
      text = textOf(this.#bodies.get(name) ?? []);
      this.#texts.set(name, text);
    }
    return text;
  }

  /** The calls of a family in a function; none where there is no such function. */
  calls(name: string, family: Family): readonly ProtocolCall[] {
    let calls = this.#calls.get(name);
    if (calls === undefined) {
      calls = this.callsOf(name).flatMap((call) => protocolOf(call, this.#names) ?? []);
      this.#calls.set(name, calls);
    }
    return calls.filter((call) => call.family === family);
  }

  /** All calls in a function. */
  callsOf(name: string): readonly Call[] {
    return callsIn(this.#bodies.get(name) ?? []);
  }

  /**
   * A function gets the object in itself: as the value of a call, or filled in by one (`call(&it)`, for `it.x` too).
   */
  obtains(name: string, object: string): boolean {
    const [root = ''] = object.split('.');
    return this.callsOf(name).some(
      (call) =>
        !CONVERSION.test(call.name) &&
        (call.result === object || call.args.includes(`&${object}`) || call.args.includes(`&${root}`)),
    );
  }

  /** Functions that name another one. */
  usersOf(name: string): string[] {
    const uses = ([user, body]: [string, readonly Token[]]): boolean =>
      user !== name && body.some(({ kind, text }) => kind === 'word' && text === name);
    return [...this.#bodies].filter(uses).map(([user]) => user);
  }
}

/**
 * Both versions of a file. Where the braces of one do not match, each is taken as one function: what is certain then is
 * which calls came and went, not where.
 */
export function sidesOf(before: Version, after: Version): readonly [before: Side, after: Side] {
  const isBroken = before.file.isBroken || after.file.isBroken;
  const bodies = ({ text, file }: Version): Bodies =>
    isBroken ? new Map([[WHOLE_FILE, tokensOf(text).filter(({ kind }) => kind !== 'directive')]]) : file.functions;
  const old = bodies(before);
  const fresh = bodies(after);
  const names = new Set<string>();
  for (const body of [...old.values(), ...fresh.values()]) {
    for (const token of body) if (token.kind === 'word') names.add(token.text);
  }
  return [new Side(old, names, false), new Side(fresh, names, true)];
}
