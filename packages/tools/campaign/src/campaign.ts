import { subjectOf } from '@kmend/harness';
import type { TracedStep } from './faults/shim.ts';
import { countSteps, type Steps, tracePhase } from './groups/steps.ts';
import { type Group, SHORT_STEPS } from './groups.ts';
import { Life, PHASES, type Phase } from './life.ts';
import { Results } from './results.ts';
import type { Guest, Rig } from './rig.ts';
import type { Round, RoundResult } from './round.ts';
import type { Row } from './table.ts';

export interface CampaignOptions {
  readonly groups: readonly Group[];
  /** At most so many rounds of a group, evenly over all there are; `undefined`: all. */
  rounds(group: string): number | undefined;
  /** These rounds alone; `undefined`: whatever there is. */
  readonly ids?: readonly string[] | undefined;
  /** Without a traced life first: faults are laid where steps are known to be. */
  readonly short: boolean;
  /** Where results are kept. */
  readonly directory: string;
  readonly signal: AbortSignal;
  say(line: string): void;
}

/** One server with one guest. */
interface Worker {
  readonly name: string;
  readonly rig: Rig;
  readonly guest: Guest;
  readonly life: Life;
}

/**
 * Runs the groups one after the other, the rounds of each shared out among the guests (one for each rig, all of the
 * same agent). What went well before, with the same agent, is not run again.
 */
export async function campaign(rigs: readonly [Rig, ...Rig[]], options: CampaignOptions): Promise<Row[]> {
  const { groups, directory, say } = options;
  const subject = await subjectOf(rigs[0].deb);
  const workers = await Promise.all(rigs.map((rig, index) => begin(rig, `faults-${index + 1}`)));
  const steps = groups.some((it) => it.needsSteps) ? await stepsFor(workers, subject, options) : undefined;
  const rows: Row[] = [];
  for (const group of groups) {
    const results = await Results.open(directory, group.name, subject);
    const count = options.rounds(group.name) ?? Number.POSITIVE_INFINITY;
    const lists = workers.map(({ rig, life }) => group.rounds({ rig, life, steps, count }));
    const ids = (lists[0] ?? []).map((round) => round.id).filter((id) => options.ids?.includes(id) ?? true);
    const left = ids.filter((id) => !results.has(id));
    say(`${group.name}: ${ids.length} faults, ${left.length} to go`);
    const queue = [...left];
    await Promise.all(
      workers.map((worker, index) =>
        work(worker, lists[index] ?? [], { ...options, group, results, queue, left: left.length }),
      ),
    );
    rows.push({ group: group.name, results: results.of(new Set(ids)) });
  }
  return rows;
}

interface Work extends CampaignOptions {
  readonly group: Group;
  readonly results: Results;
  /** Ids of the rounds that no worker has begun; all workers take from it. */
  readonly queue: string[];
  readonly left: number;
}

async function work(
  worker: Worker,
  rounds: readonly Round[],
  { group, results, queue, left, signal, say }: Work,
): Promise<void> {
  for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
    signal.throwIfAborted();
    const round = rounds.find((it) => it.id === id);
    if (round === undefined) throw new Error(`${worker.name} does not know the round ${id}`);
    const result = await round.run();
    // An interrupt takes the guests away: that is no finding.
    signal.throwIfAborted();
    await results.add(result);
    say(`${worker.name} ${group.name} ${left - queue.length}/${left} ${lineOf(result)}`);
    if (result.findings.length > 0) await results.tell(result, await evidence(worker));
  }
}

/** A whole life of the agent, step by step: its phases are shared out among the guests. */
async function stepsFor(
  workers: readonly Worker[],
  subject: string,
  { short, directory, say }: CampaignOptions,
): Promise<Steps> {
  if (short) return SHORT_STEPS;
  const kept = await Results.steps(directory, subject);
  if (kept !== undefined) return kept;
  say('a whole life of the agent, step by step');
  const trace: Record<Phase, TracedStep[]> = { load: [], replace: [], revert: [], boot: [] };
  const queue: Phase[] = [...PHASES];
  const follow = async ({ life }: Worker): Promise<void> => {
    for (let phase = queue.shift(); phase !== undefined; phase = queue.shift()) {
      trace[phase] = await tracePhase(life, phase);
      say(`traced ${phase}`);
    }
  };
  await Promise.all(workers.map(follow));
  const steps = countSteps(trace);
  await Results.keepSteps(directory, subject, steps, trace);
  return steps;
}

function lineOf({ id, struck, findings, standing, seconds, what }: RoundResult): string {
  const verdict =
    findings.length > 0 ? `FAILED ${findings.map((it) => `${it.harm}: ${it.text}`).join('; ')}` : standing.text;
  return `${id}: ${struck ? what : `not reached (${what})`} -> ${verdict} (${seconds.toFixed(1)} s)`;
}

/** A loadable object of the livepatch comes and goes during all of it. */
const CHURN = `[Service]
ExecStart=/bin/sh -c 'while sleep 25; do modprobe algif_hash || exit 1; modprobe -q -r algif_hash; done'
[Install]
WantedBy=multi-user.target
`;

async function begin(rig: Rig, name: string): Promise<Worker> {
  const guest = await rig.guest(name);
  await guest.host.copyIn(Buffer.from(CHURN), '/etc/systemd/system/lab-churn.service');
  await guest.host.check('systemctl enable --now lab-churn.service', { timeoutMs: 120_000 });
  const life = new Life(rig, guest);
  await life.begin();
  return { name, rig, guest, life };
}

async function evidence({ guest: { host }, life }: Worker): Promise<string> {
  const parts = [`console:\n${host.console().slice(-6000)}`];
  try {
    parts.push(`seen now: ${JSON.stringify(await life.look(), null, 1)}`);
    parts.push(await host.check('journalctl -b --no-pager -n 120 -u "kmend*"; dmesg | tail -n 40'));
  } catch (error) {
    parts.push(`the host says no more: ${String(error)}`);
  }
  return parts.join('\n');
}
