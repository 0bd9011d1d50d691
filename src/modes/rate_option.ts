/**
 * `--limit-rate`.
 * @module
 */
import { limits } from "../base/limits.ts";
import { sizeOption } from "../base/units.ts";
import { offOr, rate, type ValueReader } from "./options.ts";

/** Reads a rate that can be kept; 0 is `off`. */
export const limitRate: ValueReader<number> = (text) => {
  const bytes = offOr(rate)(text);
  if (bytes === "off") return 0;
  if (bytes < limits.limitRateMin) {
    throw new Error(`it must be ${sizeOption(limits.limitRateMin)} or more, or off`);
  }
  return bytes;
};

/** The part of a help text that `--limit-rate` makes. */
export const limitRateHelp = `\
  --limit-rate RATE        bytes a second on the line at most, ${
  sizeOption(limits.limitRateMin)
} or more; off: as fast as it goes
                           (default). A local target is not limited
`;
