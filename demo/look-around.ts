import { createInterface } from 'node:readline';
import { KMEND, type Operator, type PatchedHost } from '@kmend/harness';

export interface LookAround {
  readonly host: PatchedHost;
  readonly operator: Operator;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** `--keep`: everything keeps running, and what is typed runs in the guest, until the input ends or Ctrl-C. */
export async function lookAround({ host, operator, say, signal }: LookAround): Promise<void> {
  const { KMEND_HOME, KMEND_CACHE, KMEND_SERVER } = operator.environment;
  say('\nServer and host keep running. To look around from another terminal:');
  say(`  export KMEND_HOME=${KMEND_HOME} KMEND_CACHE=${KMEND_CACHE} KMEND_SERVER=${KMEND_SERVER}`);
  say(`  ${KMEND} host list; ${KMEND} host show demo`);
  say('Commands typed here run as root inside the host, e.g.: kmend-agent status. Ctrl-D or Ctrl-C ends everything.\n');
  const lines = createInterface({ input: process.stdin, terminal: false });
  signal.addEventListener('abort', () => lines.close(), { once: true });
  process.stderr.write('guest# ');
  for await (const line of lines) {
    if (line.trim() !== '') {
      const result = await host.host
        .run(line)
        .catch((error: unknown) => ({ exitCode: -1, stdout: '', stderr: String(error) }));
      process.stderr.write(
        `${result.stdout}${result.stderr}${result.exitCode === 0 ? '' : `(exit code ${result.exitCode})\n`}`,
      );
    }
    process.stderr.write('guest# ');
  }
}
