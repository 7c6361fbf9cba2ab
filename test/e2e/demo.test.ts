import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '@kmend/base/node';

/** The whole way, as script/demo goes it; script/test has set up the machine already. */
test('observes everything that the demo claims', async () => {
  const main = join(import.meta.dirname, '..', '..', 'demo', 'main.ts');
  const env = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const result = await run(process.execPath, ['--disable-warning=ExperimentalWarning', main, '--json'], {
    env,
    timeoutMs: 30 * 60_000,
  });
  assert.equal(result.exitCode, 0, result.stderr.slice(-6000));
  const { holds, steps } = JSON.parse(result.stdout.toString('utf8')) as {
    holds: boolean;
    steps: { observations: { holds: boolean }[] }[];
  };
  const observations = steps.flatMap((step) => step.observations);
  assert.ok(holds && observations.length > 20 && observations.every((observation) => observation.holds));
});
