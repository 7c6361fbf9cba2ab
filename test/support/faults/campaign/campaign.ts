import { sha256File } from '@kmend/base/node';
import type { Group } from './groups.ts';
import { Life } from './life.ts';
import type { Observation } from './observe.ts';
import { Results } from './results.ts';
import type { Guest, Rig } from './rig.ts';
import type { RoundResult } from './round.ts';
import { type Steps, traceLife } from './steps.ts';
import type { Row } from './table.ts';

export interface CampaignOptions {
  readonly groups: readonly Group[];
  /** At most so many rounds a group, evenly over all there are: one number for all, or one each; absent: all. */
  readonly rounds: number | Readonly<Record<string, number>>;
  /** Where results are kept. */
  readonly directory: string;
  readonly signal: AbortSignal;
  say(line: string): void;
}

/** Runs the groups one after the other on one guest. Rounds that went well before, with the same agent, are not run again. */
export async function campaign(rig: Rig, options: CampaignOptions): Promise<Row[]> {
  const { groups, rounds, directory, signal, say } = options;
  const subject = await sha256File(rig.deb);
  const guest = await rig.guest('faults');
  await prepare(guest);
  const life = new Life(rig, guest);
  let steps: Steps | undefined;
  const rows: Row[] = [];
  for (const group of groups) {
    const record = await Results.open(directory, group.name, subject);
    if (group.needsSteps && steps === undefined) {
      say('a whole life of the agent, step by step');
      steps = (await traceLife(life)).steps;
      say(JSON.stringify(steps));
    }
    const count = typeof rounds === 'number' ? rounds : (rounds[group.name] ?? Number.POSITIVE_INFINITY);
    const all = group.rounds({ rig, life, steps, count });
    const left = all.filter((round) => !record.has(round.id));
    say(`${group.name}: ${all.length} faults, ${left.length} to go`);
    for (const [index, round] of left.entries()) {
      signal.throwIfAborted();
      const result = await round.run();
      await record.add(result);
      say(`${group.name} ${index + 1}/${left.length} ${lineOf(result)}`);
      if (result.findings.length > 0) await record.tell(result, await evidence(guest, life));
      if (!guest.host.isOn) await guest.host.start();
    }
    const ids = new Set(all.map((round) => round.id));
    rows.push({ group: group.name, results: record.results.filter((it) => ids.has(it.id)) });
  }
  return rows;
}

function lineOf({ id, struck, findings, standing, seconds, what }: RoundResult): string {
  const verdict =
    findings.length > 0 ? `FAILED ${findings.map((it) => `${it.harm}: ${it.text}`).join('; ')}` : standing.text;
  return `${id}: ${struck ? what : 'not reached'} -> ${verdict} (${seconds.toFixed(1)} s)`;
}

/** A loadable object of the livepatch comes and goes during all of it. */
const CHURN = `[Service]
ExecStart=/bin/sh -c 'while sleep 10; do modprobe algif_hash || exit 1; modprobe -q -r algif_hash; done'
[Install]
WantedBy=multi-user.target
`;

async function prepare({ host }: Guest): Promise<void> {
  await host.copyIn(Buffer.from(CHURN), '/etc/systemd/system/lab-churn.service');
  await host.check('systemctl enable --now lab-churn.service && systemctl restart kmend-agent.service', {
    timeoutMs: 120_000,
  });
}

async function evidence({ host }: Guest, life: Life): Promise<string> {
  const parts = [`console:\n${host.console().slice(-6000)}`];
  try {
    const seen: Observation = await life.look();
    parts.push(`seen now: ${JSON.stringify(seen, null, 1)}`);
    parts.push(await host.check('journalctl -b --no-pager -n 120 -u "kmend*"; dmesg | tail -n 40'));
  } catch (error) {
    parts.push(`the host says no more: ${String(error)}`);
  }
  return parts.join('\n');
}
