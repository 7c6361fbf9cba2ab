// Loaded before a program (`node --import`): its clock stands KMEND_SHIFT_CLOCK_DAYS away, as libfaketime would have
// it.
const days = Number(process.env['KMEND_SHIFT_CLOCK_DAYS']);
const SystemDate = globalThis.Date;
const shifted = (): number => SystemDate.now() + days * 86_400_000;

globalThis.Date = new Proxy(SystemDate, {
  construct: (target, args: readonly unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [shifted()] : args, newTarget) as Date,
  get: (target, name) => (name === 'now' ? shifted : Reflect.get(target, name)),
});
