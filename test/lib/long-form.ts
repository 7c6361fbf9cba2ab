/**
 * Options of a test that only `script/test --all` runs: what takes minutes in a guest, and whose rules unit tests show
 * in each run.
 */
export const LONG_FORM = isLong() ? {} : { skip: 'long form, run by script/test --all' };

/** Whether `script/test --all` runs. */
export function isLong(): boolean {
  return process.env['KMEND_TEST_LONG'] === '1';
}
