import { assertCompiler, findTree, removeTree } from '@kmend/builder';
import type { Kernel, LocalSpec } from '@kmend/kernel';
import type { Workshop } from './workshop.ts';

/**
 * Adds a kernel of one's own, whole and proven or not at all: its parts are checked against each other, its tree is
 * prepared with its compiler, and a sample of its files is compiled and compared with it.
 */
export async function addLocalKernel(workshop: Workshop, spec: LocalSpec): Promise<Kernel> {
  const { edges, cache, kernels } = workshop;
  return await kernels.addLocal(spec, {
    findCompiler: (kernel) => assertCompiler(edges.run, kernel),
    prove: async (kernel) => {
      const known = await findTree(cache, kernel);
      try {
        await (await workshop.builder(kernel)).proveSample();
      } catch (error) {
        // The tree is of parts that do not belong together.
        if (known === undefined) await removeTree(cache, kernel);
        throw error;
      }
    },
  });
}
