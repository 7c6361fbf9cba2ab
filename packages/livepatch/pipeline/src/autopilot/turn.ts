import { join } from 'node:path';
import { type Clock, errorCode, errorText } from '@kmend/base';
import type { Kernel } from '@kmend/kernel';
import { largestGood } from '@kmend/update';
import type { AutopilotState, AutopilotStore, SetAside } from './state.ts';

/** What a turn does with one kernel. Each step can be broken off at any moment, and made again. */
export interface AutopilotSteps {
  /** Version of the newest update; the kernel's own if there is none. */
  newest(): Promise<string>;
  /** Names all that a livepatch is made from, and what is done with it. */
  inputs(to: string): Promise<string>;
  /**
   * Builds the update, without the changes set aside (key to reason), in `livepatch` of the folder. The livepatch's id;
   * `undefined` if there is none.
   */
  build(to: string, out: string, aside: ReadonlyMap<string, string>): Promise<string | undefined>;
  /** Attaches names of CVEs that came later to what was built; whether they call for another build. */
  refresh(out: string): Promise<boolean>;
  /** Fixes of the livepatch in a folder. */
  fixes(out: string): Promise<readonly Pick<SetAside, 'fix' | 'key'>[]>;
  /** Builds a livepatch of some of these fixes; whether there is one. */
  buildSome(from: string, ids: readonly string[], out: string): Promise<boolean>;
  /** Proves the livepatch in a folder, unless that was done: why it failed, `undefined` if it passed. */
  prove(directory: string, previous: string | undefined): Promise<string | undefined>;
  /** Publishes it; the serial, `undefined` if it was published before. Absent where the key is elsewhere. */
  publish?(directory: string): Promise<number | undefined>;
  /** Puts a copy of a folder in the place of another one. */
  keep(from: string, to: string): Promise<void>;
  discard(directory: string): Promise<void>;
}

/** What a turn works with. */
export interface TurnEdges {
  readonly store: AutopilotStore;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  say(line: string): void;
}

const LONGEST_REASON = 2000;

/**
 * Brings one kernel as far as it goes: builds the newest update, proves it, publishes it. What is done already, from
 * the same inputs, is not done again. A failure is kept in the state, and tried again in the next turn.
 */
export async function takeTurn(
  { store, clock, signal, say }: TurnEdges,
  { release, buildId, version }: Pick<Kernel, 'release' | 'buildId' | 'version'>,
  steps: AutopilotSteps,
): Promise<AutopilotState> {
  const before = await store.read(buildId);
  let state = begun(before, { kernel: release, buildId, at: clock.now().toISOString() });
  const enter = async (more: Partial<AutopilotState>): Promise<AutopilotState> => {
    state = { ...state, ...more, at: clock.now().toISOString() };
    await store.write(state);
    say(`${release}: ${state.step}${state.to === '' ? '' : ` (${state.to})`}`);
    return state;
  };
  try {
    const to = await steps.newest();
    if (to === version) return await enter({ to, step: 'current' });
    const inputs = await steps.inputs(to);
    const isSame = before?.inputs === inputs && before.problem === undefined && isDone(before, steps);
    if (isSame && (before.out === undefined || !(await steps.refresh(before.out)))) return before;
    const out = join(store.folder(buildId), to);
    const directory = join(out, 'livepatch');
    const build = async (): Promise<string | undefined> => {
      const aside = new Map((await store.aside(buildId)).map(({ key, why }) => [key, why]));
      return await steps.build(to, out, aside);
    };
    await enter({ to, inputs, step: 'building', out });
    let livepatch = await build();
    for (;;) {
      if (livepatch === undefined) return await enter({ step: 'nothing' });
      if (livepatch === before?.published?.id) return await enter({ step: 'unchanged', livepatch });
      await enter({ step: 'proving', livepatch });
      const why = await steps.prove(directory, before?.published?.directory);
      if (why === undefined) break;
      say(`${release}: the proof failed, look for the fixes: ${why.slice(0, 500)}`);
      const guilty = await guiltyOf(steps, out, (line) => say(`${release}: ${line}`));
      const at = clock.now().toISOString();
      const asides = guilty.map((fix): SetAside => ({ ...fix, why: why.slice(0, LONGEST_REASON), at }));
      await store.setAside(buildId, asides);
      livepatch = await build();
    }
    await enter({ step: 'proven', livepatch });
    if (steps.publish === undefined) return state;
    const serial = await steps.publish(directory);
    const published = { id: livepatch, directory: join(store.folder(buildId), 'published') };
    await steps.keep(directory, published.directory);
    return await enter({ step: 'published', published, ...(serial === undefined ? {} : { serial }) });
  } catch (error) {
    signal.throwIfAborted();
    const problem = { code: errorCode(error) ?? 'internal', message: errorText(error) };
    say(`${release}: ${problem.message}`);
    return await enter({ problem });
  }
}

/** Only what is published outlasts a turn. */
function begun(
  before: AutopilotState | undefined,
  known: Pick<AutopilotState, 'kernel' | 'buildId' | 'at'>,
): AutopilotState {
  const { published, serial } = before ?? {};
  const kept = { ...(published !== undefined && { published }), ...(serial !== undefined && { serial }) };
  return { schema: 'kmend.autopilot-state/1', ...known, ...kept, to: before?.to ?? '', inputs: '', step: 'building' };
}

/** What is proven is done only where somebody else publishes it. */
function isDone({ step }: AutopilotState, { publish }: AutopilotSteps): boolean {
  return step !== 'building' && step !== 'proving' && (step !== 'proven' || publish === undefined);
}

/** Fixes without which the livepatch passes its proof, found by halving. At least one. */
async function guiltyOf(
  steps: AutopilotSteps,
  out: string,
  say: (line: string) => void,
): Promise<Pick<SetAside, 'fix' | 'key'>[]> {
  const fixes = await steps.fixes(out);
  const trial = join(out, 'trial');
  const good = await largestGood(fixes, async (some) => {
    if (some.length === fixes.length) return false;
    say(`prove ${some.length} of ${fixes.length} fixes`);
    const ids = some.map(({ fix }) => fix);
    // A part may be no livepatch by itself: then it is not what fails.
    return !(await steps.buildSome(out, ids, trial)) || (await steps.prove(trial, undefined)) === undefined;
  });
  await steps.discard(trial);
  return fixes.filter((fix) => !good.includes(fix));
}
