import { layout, type StepClass } from '../faults/layout.ts';
import type { Plan, TracedStep } from '../faults/shim.ts';
import { type Life, PHASES, type Phase, type Way } from '../life.ts';

/** How many steps of each class a phase has: counted in a real life of the agent. */
export type Steps = Readonly<Record<Phase, Readonly<Record<StepClass, number>>>>;

/** Every step of each phase. */
export type Trace = Readonly<Record<Phase, readonly TracedStep[]>>;

/** Leads a guest through one phase and writes down what the agent does to the disk and the kernel. */
export async function tracePhase(life: Life, phase: Phase): Promise<TracedStep[]> {
  const { host, faults } = life.guest;
  const traced: TracedStep[] = [];
  for (const way of ['resume', 'check'] as const) {
    if (way === 'check' && phase !== 'load' && phase !== 'replace') continue;
    await life.bring(phase, way);
    await faults.arm({ mode: 'trace' });
    if (phase === 'boot') await host.reboot();
    else await life.order(phase, way);
    await faults.rest();
    const steps = await faults.trace();
    await faults.lift();
    await life.look();
    traced.push(...steps.filter((step) => wayOf(step, phase) === way));
  }
  return traced;
}

/** How many steps there are in what was traced. */
export function countSteps(trace: Trace): Steps {
  const count = (phase: Phase): Record<StepClass, number> =>
    eachClass((name) => stepsOf(trace[phase], name, phase).length);
  return { load: count('load'), replace: count('replace'), revert: count('revert'), boot: count('boot') };
}

/** In which way's life a step counts: each class is tried in one. */
function wayOf(step: TracedStep, phase: Phase): Way {
  const names = Object.keys(layout.steps) as StepClass[];
  const name = names.find((it) => stepsOf([step], it, phase).length > 0);
  return name === undefined || phase === 'revert' || phase === 'boot' ? 'resume' : wayTo({ name });
}

function eachClass(count: (name: StepClass) => number): Record<StepClass, number> {
  const names = Object.keys(layout.steps) as StepClass[];
  return Object.fromEntries(names.map((name) => [name, count(name)])) as Record<StepClass, number>;
}

/** The steps of one class. At boot one process does everything. */
export function stepsOf(trace: readonly TracedStep[], name: StepClass, phase: Phase): TracedStep[] {
  const { op, path, role } = { ...layout.steps[name], ...roleAt(phase) };
  const ops = op.split('|').map(pattern);
  const paths = path.split('|').map(pattern);
  return trace.filter(
    (step) => step.role === role && ops.some((it) => it.test(step.op)) && paths.some((it) => it.test(step.path)),
  );
}

function roleAt(phase: Phase): { readonly role?: string } {
  return phase === 'boot' ? { role: layout.boot } : {};
}

/** fnmatch(3) without flags, as the library uses it, for `*` and `[!x]`. */
function pattern(text: string): RegExp {
  const source = text
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replaceAll('[!', '[^')
    .replaceAll('*', '.*');
  return new RegExp(`^${source}$`, 's');
}

/** One step of one phase. */
export interface Place {
  readonly phase: Phase;
  readonly name: StepClass;
  /** From 1. */
  readonly nth: number;
}

/** The fetcher is at work only where its steps, or those that follow from them, are wanted. */
export function wayTo({ name }: Pick<Place, 'name'>): Way {
  return name === 'journalled' || name === 'seen' ? 'resume' : 'check';
}

export function placeId({ phase, name, nth }: Place): string {
  return `${phase}/${name}/${nth}`;
}

export function planAt({ phase, name, nth }: Place): Pick<Plan, 'role' | 'op' | 'path' | 'nth'> {
  return { ...layout.steps[name], ...roleAt(phase), nth };
}

/** Every step of a class in every phase of `phases`. */
export function places(steps: Steps, name: StepClass, phases: readonly Phase[]): Place[] {
  return phases.flatMap((phase) =>
    Array.from({ length: steps[phase][name] }, (_, index) => ({ phase, name, nth: index + 1 })),
  );
}

/** `count` of them, evenly over the whole; all of them where there are fewer. */
export function evenly<T>(all: readonly T[], count: number): T[] {
  if (all.length <= count) return [...all];
  return Array.from({ length: count }, (_, index) => all[Math.floor(((index + 0.5) * all.length) / count)] as T);
}

/** In turn through the phases, so that one round ends where the next begins and no time is lost on the way. */
export function inTurn(list: readonly Place[]): Place[] {
  const queues = PHASES.map((phase) => list.filter((it) => it.phase === phase));
  const turns = Math.max(0, ...queues.map((it) => it.length));
  return Array.from({ length: turns }, (_, turn) => queues.flatMap((queue) => queue.slice(turn, turn + 1))).flat();
}
