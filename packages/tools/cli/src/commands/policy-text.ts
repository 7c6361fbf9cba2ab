import { shownLines } from '@kmend/base';
import { Channel, type FleetPolicy, type KernelPolicy, type Rollout } from '@kmend/protocol';

export function fleetText({ checkIntervalSeconds, halted, consolidate }: FleetPolicy): string {
  const state = halted ? 'HALTED: no host loads anything new (--resume lifts it)' : 'not halted';
  const stacks = consolidate === true ? '; stacks of packages are consolidated' : '';
  return `hosts check every ${checkIntervalSeconds} s; ${state}${stacks}`;
}

/** What hosts of each channel should run, and what none may. */
export function kernelText({ buildId, channels, withdrawn }: KernelPolicy): string {
  const gone = new Set(withdrawn.map(({ serial }) => serial));
  const told = (serial: number): string => `serial ${serial}${gone.has(serial) ? ' (WITHDRAWN)' : ''}`;
  const shared = ({ serial, permyriad }: Rollout, rest: string): string =>
    gone.has(serial)
      ? `${rest}; the rollout of ${told(serial)} has no effect`
      : `${told(serial)} on ${permyriad / 100} % of the hosts; else ${rest}`;
  const lines = Channel.options.map((name) => {
    const entry = channels[name];
    const settled = entry?.settled ?? null;
    const nothing = entry?.noneNeeded === true ? 'none: this kernel needs no livepatch yet' : 'none';
    const rest = settled === null ? nothing : gone.has(settled) ? `none: ${told(settled)}` : told(settled);
    const rollout = entry?.rollout ?? null;
    return `  ${name.padEnd(9)} ${rollout === null ? rest : shared(rollout, rest)}`;
  });
  return shownLines([
    `kernel ${buildId}`,
    'what hosts should run, by channel',
    ...lines,
    'withdrawn',
    ...(withdrawn.length === 0 ? ['  none'] : withdrawn.map(({ serial, reason }) => `  serial ${serial}: ${reason}`)),
  ]);
}
