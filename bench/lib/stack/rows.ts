import type { Cost } from './cost.ts';

/**
 * What a depth costs as a stack and as one, as lines of text. `bareNs`: a call of the function without any livepatch.
 */
export function rowsOf(depth: number, stack: Cost, one: Cost, bareNs: number): string[] {
  const line = (name: string, of: (cost: Cost) => number, unit: string): string =>
    `  ${name.padEnd(34)} ${figure(of(stack))} ${figure(of(one))} ${unit.padEnd(5)} ${figure(of(stack) / of(one))} times`;
  return [
    `${depth} fixes: ${stack.functionsCoveredSeveralTimes} functions are patched by several livepatches of the stack`,
    `  ${''.padEnd(34)} ${'stack'.padStart(9)} ${'one'.padStart(9)}`,
    line('memory of the modules', (it) => it.memoryBytes / 1024, 'KiB'),
    line('installation until in force', (it) => it.installSeconds, 's'),
    line('boot unit until in force', (it) => it.bootSeconds, 's'),
    line('transitions of the installation', (it) => it.transitionSeconds, 's'),
    line('call of a function all patch', (it) => it.callNs, 'ns'),
    line('the same, beside an unpatched call', (it) => it.callNs / bareNs, 'times'),
  ];
}

function figure(value: number): string {
  return value.toFixed(value < 10 ? 2 : 0).padStart(9);
}
