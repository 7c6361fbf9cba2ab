import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { run } from '@kmend/base/node';
import { parseConfig } from '@kmend/kernel';
import { autoconfLines, dependencies, optionsOfRust } from './rust.ts';

const shipped = parseConfig(`CONFIG_RUST=y
CONFIG_RUSTC_VERSION=108501
CONFIG_RUSTC_VERSION_TEXT="rustc 1.85.1 (4eb161250 2025-03-15)"
CONFIG_DRM_PANIC_SCREEN_QR_CODE=y
CONFIG_DRM_PANIC_SCREEN_QR_CODE_URL=""
CONFIG_AMCC_QT2025_PHY=m
CONFIG_EITHER=y
CONFIG_HID_THRUSTMASTER=m
CONFIG_DEBUG_INFO_BTF=y
`);

const KCONFIG = `config DRM_PANIC_SCREEN_QR_CODE
\tbool "Add a panic screen with a QR code"
\tdepends on DRM_PANIC_SCREEN && RUST
\thelp
\t  depends on the reader.

config DRM_PANIC_SCREEN_QR_CODE_URL
\tstring "Base URL"
\tdepends on DRM_PANIC_SCREEN_QR_CODE

config AMCC_QT2025_PHY
\ttristate "AMCC QT2025 PHY"
\tdepends on RUST_PHYLIB_ABSTRACTIONS
\tdepends on !RUST_FW_LOADER_ABSTRACTIONS

config EITHER
\tbool
\tdepends on RUST || X86
if RUST
config DEBUG_INFO_BTF
\tdepends on !DEBUG_INFO_SPLIT
endif
config HID_THRUSTMASTER
\ttristate
`;

async function treeOf(t: TestContext): Promise<string> {
  const source = await mkdtemp(join(tmpdir(), 'kmend-rust-'));
  t.after(() => rm(source, { recursive: true }));
  await mkdir(join(source, 'drivers'));
  await writeFile(join(source, 'drivers', 'Kconfig'), KCONFIG);
  return source;
}

test('leaves out of the comparison what needs a Rust compiler, of a kernel that was built with one', async (t) => {
  const edges = { run, signal: new AbortController().signal };
  const source = await treeOf(t);
  const all = [...shipped.keys()];
  assert.deepEqual(await optionsOfRust(edges, source, shipped, all), all.slice(0, 6));
  // What the tree has and the kernel has not.
  assert.deepEqual(await optionsOfRust(edges, source, shipped, ['CONFIG_RUST', 'CONFIG_AX88796B_PHY']), [
    'CONFIG_RUST',
  ]);
  // Without Rust in the kernel, a name alone says nothing.
  const without = parseConfig('CONFIG_RUSTC_VERSION=108501\nCONFIG_AMCC_QT2025_PHY=m\n');
  assert.deepEqual(await optionsOfRust(edges, source, without, [...without.keys()]), []);
});

test('reads what an option needs, but not alternatives and negations', () => {
  const needs = dependencies(KCONFIG);
  assert.deepEqual(needs.get('CONFIG_DRM_PANIC_SCREEN_QR_CODE'), ['CONFIG_DRM_PANIC_SCREEN', 'CONFIG_RUST']);
  assert.deepEqual(needs.get('CONFIG_AMCC_QT2025_PHY'), ['CONFIG_RUST_PHYLIB_ABSTRACTIONS']);
  assert.deepEqual([needs.get('CONFIG_EITHER'), needs.get('CONFIG_DEBUG_INFO_BTF')], [[], []]);
});

test('writes options as Kconfig does', () => {
  const options = ['CONFIG_RUST', 'CONFIG_RUSTC_VERSION', 'CONFIG_RUSTC_VERSION_TEXT', 'CONFIG_AMCC_QT2025_PHY'];
  assert.equal(
    autoconfLines(shipped, [...options, 'CONFIG_DRM_PANIC_SCREEN_QR_CODE_URL']),
    `#define CONFIG_RUST 1
#define CONFIG_RUSTC_VERSION 108501
#define CONFIG_RUSTC_VERSION_TEXT "rustc 1.85.1 (4eb161250 2025-03-15)"
#define CONFIG_AMCC_QT2025_PHY_MODULE 1
#define CONFIG_DRM_PANIC_SCREEN_QR_CODE_URL ""
`,
  );
});
