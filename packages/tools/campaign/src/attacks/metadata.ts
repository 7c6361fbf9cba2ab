import { join } from 'node:path';
import { POLICY_ROLE } from '@kmend/protocol';
import type { OnlineKeys } from '@kmend/trust';
import {
  type Forge,
  generateKey,
  metadataFile,
  newOnlineKeys,
  readSigned,
  signOnline,
  signRole,
  signRoot,
  signTimestamp,
  TIMESTAMP_FILE,
} from '@kmend/trust/testing';
import type { Attack, Stage } from './stage.ts';
import { noise } from './transport.ts';

/** Attacks on the order of things: old for new, one moment's files with another's, news withheld. */

/** Everything online signed again by `keys`, versions one above the true ones. */
async function signAnew(forge: Forge, keys: OnlineKeys): Promise<void> {
  const meta = await signRole(forge, POLICY_ROLE, keys.policy, () => undefined);
  await signOnline(forge, keys, { meta });
}

async function foreignKeys(stage: Stage): Promise<Attack> {
  await signAnew(await stage.forge(), newOnlineKeys());
  return {};
}

async function retiredKeys(stage: Stage): Promise<Attack> {
  if (stage.retired === undefined) throw new Error('no key was retired yet: rotate them first');
  await signAnew(await stage.forge(), stage.retired);
  return {};
}

/** Met where a host looks for newer roots: once the timestamp is new. */
async function foreignRoot(stage: Stage): Promise<Attack> {
  await signRoot(await stage.forge(), newOnlineKeys(), generateKey('root').key);
  await stage.advance();
  return {};
}

async function unsigned(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  await signTimestamp(forge, (await stage.online()).timestamp, () => undefined);
  const signed = await readSigned(`${forge.directory}/${TIMESTAMP_FILE}`);
  const text = JSON.stringify({ ...signed, signatures: [] });
  return {
    answer({ path, response }) {
      if (path !== TIMESTAMP_FILE) return false;
      response.end(text);
      return true;
    },
  };
}

async function rollback(stage: Stage): Promise<Attack> {
  const old = await stage.read(TIMESTAMP_FILE);
  await stage.advance();
  return {
    first: await stage.read(TIMESTAMP_FILE),
    answer({ path, response }) {
      if (path !== TIMESTAMP_FILE) return false;
      response.end(old);
      return true;
    },
  };
}

async function rollbackSnapshot(stage: Stage): Promise<Attack> {
  const old = (await stage.forge()).state.timestamp.signed.snapshotMeta.toJSON();
  await stage.advance();
  const first = await stage.read(TIMESTAMP_FILE);
  await signTimestamp(await stage.forge(), (await stage.online()).timestamp, (signed) => {
    Object.assign(signed.meta, { 'snapshot.json': old });
  });
  await stage.advance(2);
  return { first };
}

async function rollbackRole(stage: Stage): Promise<Attack> {
  const file = `${POLICY_ROLE}.json`;
  const old = (await stage.forge()).state.snapshot.signed.meta[file];
  await stage.advance();
  const first = await stage.read(TIMESTAMP_FILE);
  await signOnline(await stage.forge(), await stage.online(), {
    meta: { [file]: JSON.parse(JSON.stringify(old?.toJSON())) },
  });
  await stage.advance(2);
  return { first };
}

async function fastForward(stage: Stage): Promise<Attack> {
  const ahead = 1_000_000;
  await signOnline(await stage.forge(), await stage.online(), { snapshotVersion: ahead, timestampVersion: ahead });
  return {};
}

/** A timestamp that expires soon, as it was signed long ago. The owner has signed newer ones meanwhile. */
async function freeze(stage: Stage): Promise<Attack> {
  await signTimestamp(await stage.forge(), (await stage.online()).timestamp, (signed) => {
    signed.expires = new Date(Date.now() + stage.settings.seconds * 1000).toISOString();
  });
  await stage.advance(2);
  return {};
}

async function notModified(stage: Stage): Promise<Attack> {
  await freeze(stage);
  let given = false;
  return {
    async answer({ path, response, file }) {
      if (path !== TIMESTAMP_FILE) return false;
      if (given) response.writeHead(304).end();
      else response.writeHead(200, { etag: '"frozen"' }).end(await file());
      given = true;
      return true;
    },
  };
}

async function mixAndMatch(stage: Stage): Promise<Attack> {
  const old = (await stage.forge()).state.snapshot.signed.version;
  await stage.advance();
  const { version } = (await stage.forge()).state.snapshot.signed;
  const snapshot = await stage.read(metadataFile('snapshot', old));
  return {
    answer({ path, response }) {
      if (path !== metadataFile('snapshot', version)) return false;
      response.end(snapshot);
      return true;
    },
  };
}

async function maliciousMirror(stage: Stage): Promise<Attack> {
  await stage.advance();
  return {
    async answer({ path, response, file }) {
      if (path === TIMESTAMP_FILE) return false;
      const truth = await file();
      // What is not there is asked for as well: the root after the last.
      if (truth === undefined) response.writeHead(404).end();
      else response.end(noise(stage.settings.seed, path, truth.length));
      return true;
    },
  };
}

async function withholdingMirror(stage: Stage): Promise<Attack> {
  await stage.advance();
  return {
    answer({ path, response }) {
      if (path === TIMESTAMP_FILE) return false;
      response.writeHead(404).end();
      return true;
    },
  };
}

/** A foreign repository is under another path of the same server. */
async function redirect(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const elsewhere = 'elsewhere';
  await signAnew({ ...forge, directory: join(forge.directory, elsewhere) }, newOnlineKeys());
  return {
    answer({ path, request, response }) {
      if (path.startsWith(`${elsewhere}/`)) return false;
      response.writeHead(302, { location: `/${elsewhere}${request.url}` }).end();
      return true;
    },
  };
}

export const METADATA = {
  'foreign-keys': foreignKeys,
  'retired-keys': retiredKeys,
  'foreign-root': foreignRoot,
  unsigned,
  rollback,
  'rollback-snapshot': rollbackSnapshot,
  'rollback-role': rollbackRole,
  'fast-forward': fastForward,
  'indefinite-freeze': freeze,
  'not-modified': notModified,
  'mix-and-match': mixAndMatch,
  'malicious-mirror': maliciousMirror,
  'withholding-mirror': withholdingMirror,
  redirect,
} as const satisfies Record<string, (stage: Stage) => Promise<Attack>>;
