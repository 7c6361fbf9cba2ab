export { generateKey } from '../keys/key.ts';
export { metadataFile, TIMESTAMP_FILE, targetFile } from '../repository/layout.ts';
export {
  type Forge,
  newOnlineKeys,
  openForge,
  putTarget,
  readSigned,
  rotateOnlineKeys,
  type SignedJson,
  signOnline,
  signRole,
  signRoot,
  signTimestamp,
} from './forge.ts';
export { exampleModule, signedModule } from './module.ts';
export { startWeb, type Tamper, type TestWeb } from './web.ts';
export {
  BUILD_ID,
  exampleManifest,
  makeWorld,
  OTHER_BUILD_ID,
  type World,
  writeArtifact,
  writeBuild,
} from './world.ts';
