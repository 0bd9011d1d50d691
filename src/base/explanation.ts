/**
 * The shape of `explain --json`. Scripts are written against it; fields are added, never renamed.
 * @module
 */

/**
 * How a path stands, all in all. `passage`: a directory that exists on a target as far as something included below needs
 * it. `never`: no rule would change it. `absent`: neither side has it.
 */
export type ExplainedState =
  | "replicated"
  | "pending"
  | "failed"
  | "excluded"
  | "passage"
  | "never"
  | "absent";

/** How a path stands with one target. `leftover`: it is not in the set, and the target keeps what it had. */
export interface TargetExplanation {
  target: string;
  state: "replicated" | "pending" | "failed" | "leftover" | "absent" | "unknown";
  /** In words; `""` if there is nothing to say. */
  reason: string;
}

/** The rule that decided. */
export interface DecidingRule {
  /** Line of the set's text, from 1. */
  line: number;
  text: string;
  origin: string;
  /** The path that it matched: the one asked about, or a directory above it. */
  matched: string;
}

/** Everything about one path. */
export interface Explanation {
  set: string;
  root: string;
  /** Relative to the root. */
  path: string;
  state: ExplainedState;
  /** In words; `""` if there is nothing to say. */
  reason: string;
  /** `null` if no rule speaks of it. */
  rule: DecidingRule | null;
  targets: TargetExplanation[];
  /** Whether the source of the set runs; otherwise the targets are as it last knew them. */
  isRunning: boolean;
}
