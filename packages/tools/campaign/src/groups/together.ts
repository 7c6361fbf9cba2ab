import { layout } from '../faults/layout.ts';
import type { Life } from '../life.ts';
import { judged, type Round, type RoundResult } from '../round.ts';
import { outcome } from './clock.ts';

/** Starts a second instance of what may run only once: it ends, and nothing is done twice. */
export function secondRound(life: Life, phase: 'load' | 'replace' | 'revert'): Round {
  const id = `second/${phase}`;
  return { id, run: () => second(life, id, phase) };
}

async function second(life: Life, id: string, phase: 'load' | 'replace' | 'revert'): Promise<RoundResult> {
  const { host } = life.guest;
  await life.bring(phase, 'check');
  return await judged(life, id, async () => {
    const others = layout.once.map(async (word) => {
      const { exitCode, stderr } = await host.run(['timeout', '30', 'kmend-agent', word], { timeoutMs: 90_000 });
      return `second ${word}: ${exitCode} ${/\b(busy|[a-z]+-[a-z-]+)\b/.exec(stderr)?.[1] ?? ''}`.trim();
    });
    const order = life.order(phase, 'check');
    const during = await life.look();
    const said = [outcome((await order).stdout), ...(await Promise.all(others))];
    const last = await life.heal(true);
    return { what: said.join(', '), struck: true, seen: [during], last, mayNeedPerson: false };
  });
}

/** Several people, or a person and a timer, give orders at the same moment. */
export function crowdRound(life: Life, orders: readonly string[]): Round {
  const id = `orders/${orders.join('+')}`;
  return { id, run: () => crowd(life, id, orders) };
}

async function crowd(life: Life, id: string, orders: readonly string[]): Promise<RoundResult> {
  await life.bring('replace', 'check');
  return await judged(life, id, async () => {
    const under = orders.map((order) => life.ask(order));
    const during = await life.look();
    const said = (await Promise.all(under)).map(({ stdout }, at) => `${orders[at]}: ${outcome(stdout)}`);
    const last = await life.heal(true);
    return { what: said.join(', '), struck: true, seen: [during], last, mayNeedPerson: false };
  });
}
