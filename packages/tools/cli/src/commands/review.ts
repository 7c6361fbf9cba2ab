import { userInfo } from 'node:os';
import { systemClock } from '@kmend/base/node';
import { type Decision, type Review, ReviewStore } from '@kmend/pipeline';
import type { Context } from '../context.ts';
import { CliError } from '../error.ts';
import type { Register } from '../program.ts';
import { table } from '../terminal.ts';

/** Characters of a key that are shown: enough to name it. */
const SHOWN = 12;

export const reviewCommands: Register = ({ program, action }) => {
  const review = program
    .command('review')
    .description('Decide on changes that a person must read before they are used.');
  review
    .command('list')
    .description('List all changes, those that wait for a decision first.')
    .action(
      action(async (context) => {
        const reviews = await storeOf(context).list();
        context.terminal.result<{ reviews: readonly Review[] }>({ reviews }, listText);
      }),
    );
  review
    .command('show')
    .description('Show one change, and what is to be read in it.')
    .argument('<key>', 'Key of the change, or its beginning')
    .action(
      action(async (context, key: string) => {
        const store = storeOf(context);
        const found = await store.open(key);
        const patch = await store.patch(found);
        context.terminal.result({ ...found, patch }, () => showText(found, patch));
      }),
    );
  for (const [name, state, what] of [
    ['accept', 'accepted', 'Accept a change for the reasons that are shown: the next build of an update takes it.'],
    ['reject', 'rejected', 'Reject a change: builds of updates leave it out, and do not ask again.'],
  ] as const) {
    review
      .command(name)
      .description(what)
      .argument('<key...>', 'Keys of changes, or their beginnings')
      .requiredOption('--reason <text>', 'Why; it is kept with the decision')
      .action(
        action(async (context, keys: readonly string[], { reason }: { readonly reason: string }) => {
          if (reason.trim() === '') throw new CliError('usage', '--reason is empty');
          const store = storeOf(context);
          // All are looked up first: a mistyped one changes nothing.
          const found = await Promise.all(keys.map((key) => store.open(key)));
          const decision: Decision = { state, reason, by: userInfo().username, at: systemClock.now().toISOString() };
          const reviews = await Promise.all(found.map((one) => store.decide(one, decision)));
          context.terminal.result<{ reviews: readonly Review[] }>({ reviews }, listText);
        }),
      );
  }
};

function storeOf({ places }: Context): ReviewStore {
  return new ReviewStore(places.home);
}

function listText({ reviews }: { readonly reviews: readonly Review[] }): string {
  if (reviews.length === 0) return 'there is nothing to review';
  return table(
    ['KEY', 'STATE', 'FIX', 'KERNEL', 'TO', 'REASONS'],
    reviews.map(({ key, state, fix, kernel, to, reasons }) => [
      key.slice(0, SHOWN),
      state,
      fix,
      kernel,
      to,
      [...new Set(reasons.map(({ code }) => code))].join(', '),
    ]),
  );
}

function showText({ key, state, fix, kernel, from, to, reasons, decided }: Review, patch: string): string {
  return [
    `${key}: ${state}`,
    `  ${fix}, found in ${from} to ${to} for ${kernel}`,
    ...reasons.map(({ code, message }) => `  [${code}]: ${message}`),
    ...(decided === undefined ? [] : [`  ${state} by ${decided.by} at ${decided.at}: ${decided.reason}`]),
    '',
    patch,
  ].join('\n');
}
