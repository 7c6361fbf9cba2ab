import type { Edges } from '../edges/edges.ts';

const MAX_LINES = 20;

/** Seconds since boot, as the kernel log counts them. */
export async function uptime(edges: Edges): Promise<number> {
  const text = await edges.files.text('/proc/uptime');
  const seconds = Number.parseFloat(text ?? '');
  return Number.isFinite(seconds) ? seconds : 0;
}

/** Last kernel log lines written since `seconds` after boot, without their time stamps; empty where the log cannot be read. */
export async function linesSince(edges: Edges, seconds: number): Promise<readonly string[]> {
  let output: string;
  try {
    const result = await edges.run('/bin/dmesg', ['--color=never', '--nopager'], {
      timeoutMs: 10_000,
      maxOutput: 16_000_000,
    });
    output = result.exitCode === 0 ? result.stdout.toString('utf8') : '';
  } catch {
    return [];
  }
  return linesOfLog(output, seconds);
}

/** Pure half: `[   12.345678] text` lines from `seconds` on. */
export function linesOfLog(output: string, seconds: number): readonly string[] {
  const lines: string[] = [];
  for (const line of output.split('\n')) {
    const found = /^\[\s*(\d+\.\d+)\] (.*)$/.exec(line);
    if (found?.[1] !== undefined && found[2] !== undefined && Number.parseFloat(found[1]) >= seconds) {
      lines.push(found[2].slice(0, 300));
    }
  }
  return lines.slice(-MAX_LINES);
}
