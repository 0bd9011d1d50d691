/**
 * Goal: rules mean what they mean to git, in every case and to the very rule that decides.
 *
 * Method: random rules of tokens that patterns are made of; `git check-ignore` is asked about each path of a tree. Where
 * an anchored include reaches into a directory that was left out, which git cannot do, the model below says what must be.
 */
import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { parentPath } from "../../src/base/path.ts";
import { RuleList } from "../../src/rules/rule_list.ts";
import { lacks } from "../testing/needs.ts";
import { GitOracle } from "./git_oracle.ts";

const ignore = lacks("command git");

const token = fc.constantFrom(
  ..."a b ab * ** ** / / / ? [ab] [!a] [^b] [a-b] [a-] []a] [!]a] [[:alpha:]] [[:nix:]] [[:punct:]-] [\\]] [a/b]"
    .split(" "),
  ...[
    "\\",
    "\\a",
    "\\*",
    "#",
    ".",
    "!",
    " ",
    "\\ ",
    "é",
    "/**/",
    "**/",
    "/*",
    "[",
    "]",
    "-",
    "B",
    "a/b",
    "a/b/",
    "/a/",
    "/**",
  ],
);
const line = fc.oneof(
  fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join("")),
  // Lines that meet the tree oftener.
  fc.tuple(
    fc.constantFrom("", "!"),
    fc.constantFrom("/", "", "**/", "*/"),
    fc.constantFrom("a", "b", "ab", "*", "a*", "?", "é"),
    fc.constantFrom("", "/", "/a", "/*", "/**", "/**/b", "/b/", "/a/ab"),
  ).map((parts) => parts.join("")),
);

Deno.test({
  name: "RuleList.verdict() is that of git check-ignore, and so is the rule that decides",
  ignore,
  async fn() {
    await using oracle = await GitOracle.open();
    let extended = 0;
    const property = fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 6 }), async (lines) => {
      // A lone slash means nothing to git, and the root to us.
      fc.pre(!lines.some((each) => /^!?\/ *$/.test(each)));
      const list = RuleList.parse(lines);
      // git counts lines, the list rules.
      const lineOfRule = lines.flatMap((each, i) => RuleList.parse([each]).isEmpty ? [] : [i + 1]);
      const said = await oracle.ask(lines);
      const outsideOf = new Map([["", true]]);
      for (const { path, isDirectory } of oracle.paths) {
        const wanted = said.get(path)!;
        const verdict = list.verdict(path, { isDirectory });
        const parent = list.verdict(parentPath(path), { isDirectory: true });
        const isParentAsGit = outsideOf.get(parentPath(path))!;
        const isAsGit = verdict.isIncluded !== wanted.isIgnored;
        outsideOf.set(path, isParentAsGit && isAsGit);
        if (isParentAsGit && parent.isIncluded) {
          assert(isAsGit, `${path} by ${JSON.stringify(lines)}: git ignores it: ${wanted.isIgnored}`);
          const line = verdict.rule < 0 || list.rules[verdict.rule].includes && wanted.line === 0
            ? 0
            : lineOfRule[verdict.rule];
          assertEquals(line, wanted.line, `the line that decides on ${path} by ${JSON.stringify(lines)}`);
        } else if (!isAsGit) {
          // Only a later anchored include, or what it took in, may be more than git.
          extended++;
          assert(verdict.isIncluded, `${path} by ${JSON.stringify(lines)} is left out against git`);
          const { includes, pattern } = list.rules[verdict.rule];
          const reaches = parent.isIncluded || (includes && pattern.isAnchored);
          assert(reaches, `${path} by ${JSON.stringify(lines)} is reached`);
        }
      }
    });
    await fc.assert(property, { numRuns: 400 });
    assert(extended > 0, "the extension was met");
  },
});

Deno.test("RuleList.verdict() says passage of every directory that leads to something included", () => {
  const names = ["a", "b", "ab", "é"];
  const paths = names.flatMap((x) =>
    names.flatMap((y) => names.flatMap((z) => names.map((w) => `${x}/${y}/${z}/${w}`)))
  );
  const property = fc.property(
    fc.array(fc.oneof(line, line.map((each) => `!/${each}`), fc.constantFrom("/", "/*")), { maxLength: 6 }),
    (lines) => {
      const list = RuleList.parse(lines);
      for (const path of paths) {
        if (!list.verdict(path, { isDirectory: false }).isIncluded) continue;
        for (let above = parentPath(path);; above = parentPath(above)) {
          const { isIncluded, isPassage } = list.verdict(above, { isDirectory: true });
          assert(isIncluded || isPassage, `${above} leads to ${path} by ${JSON.stringify(lines)}`);
          if (above === "") break;
        }
      }
    },
  );
  fc.assert(property, { numRuns: 500 });
});
