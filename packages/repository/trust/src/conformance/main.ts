import { parseArgs } from 'node:util';
import { errorText, shownText } from '@kmend/base';
import { download, initialise, refresh } from './client.ts';

// The client-under-test of https://github.com/theupdateframework/tuf-conformance (its CLIENT-CLI.md): exit code 0 where
// a command succeeded in full, 1 where anything failed.

const OPTIONS = {
  'metadata-dir': { type: 'string' },
  'metadata-url': { type: 'string' },
  'target-name': { type: 'string', multiple: true },
  'target-base-url': { type: 'string' },
  'target-dir': { type: 'string' },
} as const;

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const required = (name: Exclude<keyof typeof OPTIONS, 'target-name'>): string => values[name] ?? missing(name);
  const [command, root, ...rest] = positionals;
  if (command === 'init' && root !== undefined && rest.length === 0) {
    return initialise(required('metadata-dir'), root);
  }
  if (command === 'refresh' && root === undefined) return refresh(required('metadata-dir'), required('metadata-url'));
  if (command === 'download' && root === undefined) {
    const location = { metadata: required('metadata-url'), targets: required('target-base-url') };
    const names = values['target-name'] ?? missing('target-name');
    return download(required('metadata-dir'), location, names, required('target-dir'));
  }
  throw new TypeError('usage: kmend-tuf-conformance --metadata-dir DIR [OPTION...] init ROOT | refresh | download');
}

function missing(name: string): never {
  throw new TypeError(`--${name} is missing`);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${shownText(errorText(error))}\n`);
  process.exitCode = 1;
});
