import { errorText } from '@kmend/base';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';
import { AgentError } from '../error.ts';
import { Config, isPrivate } from './schema.ts';

const Fragment = z.record(z.string(), z.json());
type Fragment = z.infer<typeof Fragment>;

/** Reads, merges and validates the configuration. Throws `not-enrolled` where there is none, `config-invalid`. */
export async function loadConfig(edges: Edges): Promise<Config> {
  const files = [paths.config as string];
  for (const name of (await edges.files.names(paths.configDirectory)) ?? []) {
    if (name.endsWith('.json') && !name.startsWith('.')) files.push(`${paths.configDirectory}/${name}`);
  }
  const fragments: Fragment[] = [];
  for (const file of files) {
    const text = await edges.files.text(file);
    if (text !== undefined) fragments.push(parseFragment(file, text));
  }
  if (fragments.length === 0) {
    throw new AgentError('not-enrolled', `there is no ${paths.config}: this host is not enrolled`, {
      hint: 'kmend-agent enrol --server URL --key-file FILE --root FILE',
    });
  }
  return mergeConfig(fragments);
}

function parseFragment(file: string, text: string): Fragment {
  try {
    return Fragment.parse(JSON.parse(text));
  } catch (error) {
    throw new AgentError('config-invalid', `${file} is not a JSON object: ${errorText(error)}`, {
      cause: error,
      details: { file },
      hint: 'correct the file, then: systemctl restart kmend-agent',
    });
  }
}

/** Later fragments win, key by key; the outcome is what gets validated. */
export function mergeConfig(fragments: readonly Fragment[]): Config {
  const parsed = Config.safeParse(Object.assign({}, ...fragments));
  if (!parsed.success) {
    throw new AgentError('config-invalid', `the configuration is not valid: ${z.prettifyError(parsed.error)}`, {
      hint: `correct ${paths.config} or its fragments in ${paths.configDirectory}; docs/agent.md lists the keys`,
    });
  }
  assertPrivate(parsed.data.server, parsed.data.allowPlainHttp);
  return parsed.data;
}

export function assertPrivate(server: string, allowPlainHttp: boolean): void {
  if (isPrivate(server) || allowPlainHttp) return;
  throw new AgentError('config-invalid', `${server} is plain HTTP: the host's token would travel unencrypted`, {
    hint: 'use https, or state that you accept it: --allow-plain-http, "allowPlainHttp": true',
  });
}
