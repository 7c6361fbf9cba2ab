export { mutateElf } from './mutate.ts';
