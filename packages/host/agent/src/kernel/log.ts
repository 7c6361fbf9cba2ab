import type { Edges } from '../edges/edges.ts';

const MAX_LINES = 20;
const MAX_LOG = 16_000_000;

/** Seconds since boot. The kernel log counts by a clock of its own that drifts against this one over weeks. */
export async function uptime(edges: Edges): Promise<number> {
  const text = await edges.files.text('/proc/uptime');
  const seconds = Number.parseFloat(text ?? '');
  return Number.isFinite(seconds) ? seconds : 0;
}

/** The kernel log as dmesg(1) prints it; empty where it cannot be read. */
export async function kernelLog(edges: Edges): Promise<string> {
  try {
    const options = { timeoutMs: 10_000, maxOutput: MAX_LOG };
    const result = await edges.run('/bin/dmesg', ['--color=never', '--nopager'], options);
    return result.exitCode === 0 ? result.stdout.toString('utf8') : '';
  } catch {
    return '';
  }
}

const LINE = /^\[\s*(\d+\.\d+)\](?:\[[^\]]*\])? (.*)$/;

/** Time of the last line of the kernel log, in seconds of its own clock; 0 where there is none. */
export async function lastLogTime(edges: Edges): Promise<number> {
  const lines = (await kernelLog(edges)).trimEnd().split('\n');
  for (const line of lines.reverse()) {
    const seconds = Number.parseFloat(LINE.exec(line)?.[1] ?? '');
    if (Number.isFinite(seconds)) return seconds;
  }
  return 0;
}

/** Last kernel log lines written after `seconds` of its clock, without their time stamps. */
export async function linesSince(edges: Edges, seconds: number): Promise<readonly string[]> {
  return linesOfLog(await kernelLog(edges), seconds);
}

/** Pure half: `[   12.345678] text` lines after `seconds`. */
export function linesOfLog(output: string, seconds: number): readonly string[] {
  const lines: string[] = [];
  for (const line of output.split('\n')) {
    const found = LINE.exec(line);
    if (found?.[1] !== undefined && found[2] !== undefined && Number.parseFloat(found[1]) > seconds) {
      lines.push(found[2].slice(0, 300));
    }
  }
  return lines.slice(-MAX_LINES);
}
