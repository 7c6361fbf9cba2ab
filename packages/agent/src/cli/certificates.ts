import { readFile } from 'node:fs/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { errorText } from '@kmend/base';
import { AgentError } from '../error.ts';

/** Trusts what the distribution trusts, what Node brings, and the owner's own authority, for every connection. */
export async function trustCertificates(caFile: string | undefined): Promise<void> {
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
