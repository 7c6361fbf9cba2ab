import type { Register } from '../program.ts';

/**
 * Families of commands in the order of the help text, by the word that begins them. Each is read only when it is
 * needed: a build does not wait for the server's code.
 */
const families: readonly (readonly [word: string, load: () => Promise<Register>])[] = [
  ['kernel', async () => (await import('./kernel.ts')).kernelCommands],
  ['fix', async () => (await import('./fix.ts')).fixCommands],
  ['review', async () => (await import('./review.ts')).reviewCommands],
  ['update', async () => (await import('./update.ts')).updateCommands],
  ['autopilot', async () => (await import('./autopilot.ts')).autopilotCommands],
  ['build', async () => (await import('./build.ts')).buildCommand],
  ['audit', async () => (await import('./audit.ts')).auditCommand],
  ['compare', async () => (await import('./compare.ts')).compareCommand],
  ['prove', async () => (await import('./prove.ts')).proveCommand],
  ['doctor', async () => (await import('./doctor.ts')).doctorCommand],
  ['cache', async () => (await import('./cache.ts')).cacheCommands],
  ['repo', async () => (await import('./repo.ts')).repoCommands],
  ['server', async () => (await import('./server.ts')).serverCommand],
  ['publish', async () => (await import('./publish.ts')).publishCommand],
  ['policy', async () => (await import('./policy.ts')).policyCommands],
  ['keys', async () => (await import('./keys.ts')).keysCommands],
  ['key', async () => (await import('./key.ts')).keyCommands],
  ['host', async () => (await import('./host.ts')).hostCommands],
];

/**
 * The family that a command line names; all of them if it names none, so that help and errors know every command.
 */
export async function registersFor(argv: readonly string[]): Promise<Register[]> {
  const word = argv.find((each) => !each.startsWith('-')) ?? '';
  // Used alone, and often: by scripts, and to check that the command works.
  if (argv.length > 0 && argv.every((each) => each === '--version' || each === '-V')) return [];
  const named = families.find(([family]) => family === word);
  const wanted = named === undefined ? families : [named];
  return await Promise.all(wanted.map(([, load]) => load()));
}
