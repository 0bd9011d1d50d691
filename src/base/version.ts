/**
 * The version, which deno.json alone knows.
 * @module
 */
import project from "../../deno.json" with { type: "json" };

/** Version of this program: `major.minor.patch`. */
export const VERSION: string = project.version;

/** Program and version, as each side tells the other. */
export const AGENT = `understudy ${VERSION}`;
