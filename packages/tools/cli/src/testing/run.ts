import { type Register, runProgram } from '../program.ts';

/** What one run of the command line said, and how it ended. */
export interface Said {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `kmend` in this process with some of its commands. */
export async function runKmend(
  commands: readonly Register[],
  env: Readonly<Record<string, string>>,
  ...argv: string[]
): Promise<Said> {
  const said = { out: '', err: '' };
  const streams = {
    out: { write: (text: string) => (said.out += text) },
    err: { write: (text: string) => (said.err += text) },
  };
  const { exitCode } = await runProgram(argv, commands, { streams, env, signal: new AbortController().signal });
  return { exitCode, ...said };
}
