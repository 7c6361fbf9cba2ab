import { readFile } from 'node:fs/promises';
import { errorText } from '@kmend/base';
import { AgentError } from '../error.ts';

/**
 * Trusts what the distribution trusts, what Node brings, and the owner's own authority, for every connection. Reading
 * all of them takes as long as the rest of the start, so only where one of the URLs needs them.
 */
export async function trustCertificates(urls: readonly string[], caFile: string | undefined): Promise<void> {
  if (!urls.some((url) => url.startsWith('https:'))) return;
  // Not an import: Node cannot keep this module in a startup snapshot.
  const { getCACertificates, setDefaultCACertificates } = process.getBuiltinModule('node:tls');
  const known = [...getCACertificates('bundled'), ...getCACertificates('system')];
  if (caFile === undefined) {
    setDefaultCACertificates(known);
    return;
  }
  try {
    setDefaultCACertificates([...known, await readFile(caFile, 'utf8')]);
  } catch (error) {
    throw new AgentError('config-invalid', `${caFile} holds no certificate that can be used: ${errorText(error)}`, {
      cause: error,
      hint: 'give a PEM file of the certificate authority',
    });
  }
}
