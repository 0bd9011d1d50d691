/**
 * Writes a file for everybody to read, with a umask that is for nobody.
 * @module
 */
import { utf8 } from "../../src/base/bytes.ts";
import { writeDurably } from "../../src/store/durable.ts";

Deno.umask(0o077);
writeDurably(Deno.args[0], utf8("shared"), { mode: 0o644 });
